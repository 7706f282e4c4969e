"""What must hold in a single record for a leaderboard to accept it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import store
from ..gate.gauge import Gauge, gauge_of
from ..gate.paired import Cell, is_close
from ..record import Measurement, Record, cell_id_of
from ..text import printable

_NEEDED = {
    "saetransfer": "the version of saetransfer",
    "python": "the version of Python",
    "device": "the device",
    "threads": "the number of threads",
    "seed": "the seed",
    "command": "the command",
}
_PACKAGES = ("torch", "transformers")
_AGAIN = "run the cell again (`run --rerun all --only ...`)"


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with a record, and what to do about it."""

    what: str
    remedy: str
    is_error: bool = True
    """Whether a leaderboard refuses the record for it; otherwise a reader should only know."""

    @property
    def level(self) -> str:
        """What it is called."""
        return "mistake" if self.is_error else "warning"


def mistakes(record: Record, gauges: Mapping[str, Gauge], path: Path) -> Iterator[Mistake]:
    """Everything that is wrong with a record in itself.

    Args:
        record: what to look at.
        gauges: what is known of metrics.
        path: where the record lies.
    """
    yield from _identity(record, path)
    yield from _environment(record.environment)
    if record.hardware is None:
        yield Mistake("the environment does not describe the hardware", _AGAIN)
    if (record.compression or {}).get("verified") is False:
        yield Mistake("it was not verified that the model was compressed", "see `warnings` under `compression`", False)
    yield from _figures(record, gauges)


def _identity(record: Record, path: Path) -> Iterator[Mistake]:
    expected = cell_id_of(record.spec)
    if record.cell_id != expected:
        yield Mistake(
            f"its id is {record.cell_id}, but what it says was measured has {expected}: the spec or the id was changed",
            f"{_AGAIN}; no part of a record may be written by hand",
        )
    name = store.cell_path(".", record.labels, record.cell_id).name
    if path.name != name:
        yield Mistake(
            "the file has another name than its record gives it", f"rename it to {name}, or use `merge`", False
        )


def _environment(environment: Mapping[str, Any]) -> Iterator[Mistake]:
    packages = environment.get("packages")
    known = packages if isinstance(packages, Mapping) else {}
    missing = [words for key, words in _NEEDED.items() if environment.get(key) is None]
    missing += [f"the version of {name}" for name in _PACKAGES if known.get(name) is None]
    if missing:
        yield Mistake(f"the environment does not tell {', '.join(missing)}", _AGAIN)
    if str(environment.get("commit") or "").endswith("+changes"):
        remedy = "commit the changes and run it again, so that others can do what you did"
        yield Mistake("it was measured with changes to saetransfer that are in no commit", remedy, False)


def _figures(record: Record, gauges: Mapping[str, Gauge]) -> Iterator[Mistake]:
    # What is computed from its dense cell too is left out: that may have been measured again since.
    cell = Cell(record, None)
    if record.status == "ok" and not record.metrics:
        yield Mistake("its status is 'ok', and it has no figures", _AGAIN)
    for metric, figure in record.metrics.items():
        gauge = gauge_of(metric, gauges)
        if metric.split(".")[0] not in record.spec.tasks:
            yield Mistake(f"{printable(metric)} belongs to no task of its spec", _AGAIN)
        if figure.value is None and not figure.reason:
            yield Mistake(f"{printable(metric)} has no value and no reason for that", _AGAIN)
        if figure.value is not None and gauge is not None:
            yield from _figure(metric, figure, figure.value, gauge, cell)


def _figure(metric: str, figure: Measurement, value: float, gauge: Gauge, cell: Cell) -> Iterator[Mistake]:
    smallest, largest = gauge.valid_range
    if value < (-math.inf if smallest is None else smallest) or value > (math.inf if largest is None else largest):
        yield Mistake(f"{metric} is {value:.6g}, which it cannot be", _AGAIN)
    if figure.unit != gauge.unit:
        yield Mistake(f"{metric} is in '{printable(figure.unit)}', and should be in '{gauge.unit}'", _AGAIN)
    counted = cell.value(gauge)
    if counted is not None and not is_close(counted, value):
        told = f"{metric} is {value:.6g}, but the sums of its documents give {counted:.6g}"
        yield Mistake(told, f"{_AGAIN}; no part of a record may be written by hand")
