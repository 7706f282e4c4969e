"""Everything that a cell can be sorted, filtered and plotted by: its metrics, and facts about its state and its SAE."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..boards.columns import COLUMNS, MEANINGS_OF_STATES, Definition, defined
from ..boards.sections import is_frozen
from ..record import Measurement, Record
from ..text import printable

_STATE, _SAE = "state", "SAE"
_SHOWN_PRIORITY = 3
"""Columns of a board up to this priority are shown at first."""


class Figure(NamedTuple):
    """A number of one cell."""

    value: float | None
    interval: tuple[float, float] | None = None
    n: int | None = None
    reason: str | None = None
    """Why there is no value."""


@dataclass(frozen=True)
class Quantity:
    """One column that a reader may choose."""

    name: str
    title: str
    unit: str
    """`1` for a ratio, `%` for a ratio that is shown in percent, otherwise `nats`, `bytes`, ..."""
    higher_is_better: bool | None
    definition: str
    group: str
    """The task, or `state` or `SAE`."""
    shown: bool
    read: Callable[[Record], Figure]


class _Fact(NamedTuple):
    name: str
    title: str
    unit: str
    higher_is_better: bool | None
    definition: str
    read: Callable[[Record], float | None]
    shown: bool = False


def _compression(*keys: str) -> Callable[[Record], float | None]:
    return lambda record: _number(record.compression, *keys)


def _sae(*keys: str) -> Callable[[Record], float | None]:
    return lambda record: _number(record.sae, *keys)


def _cost_of_making(key: str) -> Callable[[Record], float | None]:
    """Nothing for an SAE that was there before the model was compressed."""
    return lambda record: (
        None if is_frozen(record) or record.labels.sae_source == "random" else _number(record.sae, "cost", key)
    )


def _relative_size(record: Record) -> float | None:
    size_bytes, dense_bytes = (_number(record.compression, "bytes", kind) for kind in ("theoretical", "dense"))
    return size_bytes / dense_bytes if size_bytes is not None and dense_bytes else None


_FACTS = (
    _Fact("state.size", "size", "%", False, MEANINGS_OF_STATES["size"], _relative_size, shown=True),
    _Fact("state.bits", "bits", "bits", False, MEANINGS_OF_STATES["bits"], _compression("effective_bits")),
    _Fact("state.zeros", "zeros", "%", None, MEANINGS_OF_STATES["zeros"], _compression("sparsity")),
    _Fact(
        "state.bytes",
        "bytes",
        "bytes",
        False,
        "bytes of the model's weights in the smallest layout that holds them",
        _compression("bytes", "theoretical"),
    ),
    _Fact(
        "state.bytes_held",
        "bytes held",
        "bytes",
        False,
        "bytes of the model's weights as they lay in memory during the measurement",
        _compression("bytes", "actual"),
    ),
    _Fact(
        "state.weight_error",
        "weight error",
        "1",
        False,
        MEANINGS_OF_STATES["weight error"],
        _compression("weight_error"),
    ),
    _Fact(
        "state.output_error",
        "output error",
        "1",
        False,
        "norm of the change of the outputs of these layers on calibration text, relative to their norm",
        _compression("output_error"),
    ),
    _Fact("sae.latents", "latents", "latents", None, "width of the SAE", _sae("d_sae")),
    _Fact(
        "sae.bytes",
        "SAE bytes",
        "bytes",
        False,
        "bytes of the SAE's weights in the smallest layout that holds them",
        _sae("smallest_bytes"),
    ),
    _Fact(
        "sae.training_seconds",
        "SAE training",
        "seconds",
        False,
        "wall time of making the SAE for this state, that of its activations included",
        _cost_of_making("seconds"),
    ),
    _Fact(
        "sae.training_tokens",
        "SAE training tokens",
        "tokens",
        False,
        "tokens read to make the SAE for this state",
        _cost_of_making("tokens"),
    ),
)


def quantities(records: Iterable[Record], definitions: Mapping[str, Definition]) -> list[Quantity]:
    """The quantities that at least one of the records has a value of; facts first, metrics in the order of tasks."""
    known = list(records)
    facts = [_of_fact(fact) for fact in _FACTS if any(fact.read(record) is not None for record in known)]
    units: dict[str, str] = {}
    for record in known:
        for name, measurement in record.metrics.items():
            units.setdefault(name, measurement.unit)
    return [*facts, *_of_metrics(units, definitions)]


def _of_fact(fact: _Fact) -> Quantity:
    group = _STATE if fact.name.startswith("state.") else _SAE
    return Quantity(
        fact.name,
        fact.title,
        fact.unit,
        fact.higher_is_better,
        fact.definition,
        group,
        fact.shown,
        lambda record: Figure(fact.read(record)),
    )


def _of_metrics(units: Mapping[str, str], definitions: Mapping[str, Definition]) -> Iterator[Quantity]:
    """Those of the board first and in its order; then, task by task, in the order of the tasks' own lists."""
    columns = {column.metric: column for column in COLUMNS if column.metric}
    own_order = {name: place for place, name in enumerate(definitions)}
    board_order = {name: place for place, name in enumerate(columns)}

    def place(name: str) -> tuple[float, float, str]:
        return board_order.get(name, math.inf), own_order.get(name, math.inf), name

    for name in sorted(units, key=place):
        task, _, rest = name.partition(".")
        unit, higher_is_better, text = defined(name, definitions) or Definition(units[name], None, "")
        column = columns.get(name)
        title = column.title if column else printable(rest.replace(".", " ").replace("_", " "))
        shown = column is not None and column.priority <= _SHOWN_PRIORITY
        yield Quantity(name, title, unit, higher_is_better, text, task, shown, _reader(name))


def _reader(name: str) -> Callable[[Record], Figure]:
    def read(record: Record) -> Figure:
        return _figure(record.metrics.get(name))

    return read


def _figure(measurement: Measurement | None) -> Figure:
    if measurement is None:
        return Figure(None)
    return Figure(measurement.value, measurement.ci, measurement.n, measurement.reason)


def _number(facts: Any, *keys: str) -> float | None:
    """A number from a part of a record whose fields are open."""
    for key in keys:
        facts = facts.get(key) if isinstance(facts, Mapping) else None
    if isinstance(facts, bool) or not isinstance(facts, int | float):
        return None
    return float(facts) if math.isfinite(facts) else None
