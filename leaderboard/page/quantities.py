"""Everything that a cell can be sorted, filtered and plotted by: its metrics, and facts about its state and its SAE."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from ..boards.columns import COLUMNS, MEANINGS_OF_STATES, Definition, defined
from ..boards.facts import (
    compression,
    number_in,
    relative_size,
    sae_bytes,
    size_bytes,
    training_seconds,
    training_tokens,
)
from ..record import Measurement, Record
from ..text import printable

_STATE, _SAE = "state", "SAE"
_SHOWN_PRIORITY = 2
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


_FACTS = (
    _Fact("state.size", "size", "%", False, MEANINGS_OF_STATES["size"], relative_size, shown=True),
    _Fact("state.bits", "bits", "bits", False, MEANINGS_OF_STATES["bits"], partial(compression, name="effective_bits")),
    _Fact("state.zeros", "zeros", "%", None, MEANINGS_OF_STATES["zeros"], partial(compression, name="sparsity")),
    _Fact(
        "state.bytes",
        "bytes",
        "bytes",
        False,
        "bytes of the model's weights in the smallest layout that holds them",
        size_bytes,
    ),
    _Fact(
        "state.bytes_held",
        "bytes held",
        "bytes",
        False,
        "bytes of the model's weights as they lay in memory during the measurement",
        partial(size_bytes, kind="actual"),
    ),
    _Fact(
        "state.weight_error",
        "weight error",
        "1",
        False,
        MEANINGS_OF_STATES["weight error"],
        partial(compression, name="weight_error"),
    ),
    _Fact(
        "state.output_error",
        "output error",
        "1",
        False,
        MEANINGS_OF_STATES["output error"],
        partial(compression, name="output_error"),
    ),
    _Fact("sae.latents", "latents", "latents", None, "width of the SAE", lambda record: number_in(record.sae, "d_sae")),
    _Fact(
        "sae.bytes",
        "SAE bytes",
        "bytes",
        False,
        "bytes of the SAE's weights in the smallest layout that holds them",
        sae_bytes,
    ),
    _Fact(
        "sae.training_seconds",
        "SAE training",
        "seconds",
        False,
        "wall time of making the SAE for this state, that of its activations included",
        training_seconds,
    ),
    _Fact(
        "sae.training_tokens",
        "SAE training tokens",
        "tokens",
        False,
        "tokens read to make the SAE for this state",
        training_tokens,
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
