"""Figures of a state: those that its cells share, and means over frozen SAEs.

The SAEs of a state are read on the same text, so their errors go together. The interval of a mean is from the mean of
the lower to the mean of the upper bounds: exact where all err alike, too wide otherwise, never too narrow.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..record import Measurement, Record, canonical_json
from .cells import Cell
from .columns import Column, cell_of
from .figures import NO_VALUE
from .states import State

INCOMPLETE = "§"
"""Stands behind a mean over fewer frozen SAEs than other states have: it does not compete."""


@dataclass(frozen=True)
class StateFigure:
    """One figure of a state."""

    cell: Cell
    complete: bool
    """Whether it is over all frozen SAEs that the figure is known of on any state."""


def shared(column: Column, records: Iterable[Record]) -> Cell:
    """A figure that the cells of a state share, from the first that has it."""
    for record in _measured(records):
        cell = column.cell(record)
        if cell.text != NO_VALUE:
            return cell
    return Cell(NO_VALUE)


def over_frozen(column: Column, known: Iterable[State]) -> list[StateFigure]:
    """The mean of a metric over the frozen SAEs of each state."""
    values = [_by_sae(column, state) for state in known]
    everywhere = {sae for state in values for sae in state}
    return [_mean(state, complete=len(state) == len(everywhere)) for state in values]


def mean(measurements: Sequence[Measurement]) -> Measurement:
    """The mean of figures that have values; an interval only where all have one."""
    intervals = [one.ci for one in measurements if one.ci is not None]
    ci = None
    if len(intervals) == len(measurements):
        ci = (statistics.fmean(low for low, _ in intervals), statistics.fmean(high for _, high in intervals))
    values = [one.value for one in measurements if one.value is not None]
    return Measurement(value=statistics.fmean(values), unit=measurements[0].unit, ci=ci)


def turned(measurement: Measurement) -> Measurement:
    """The figure with the other sign."""
    ci = None if measurement.ci is None else (-measurement.ci[1], -measurement.ci[0])
    return Measurement(value=None if measurement.value is None else -measurement.value, unit=measurement.unit, ci=ci)


def _by_sae(column: Column, state: State) -> dict[str, Measurement]:
    found: dict[str, Measurement] = {}
    for record in _measured(state.frozen):
        measurement = record.metrics.get(column.metric or "")
        if measurement is not None and measurement.value is not None:
            found[canonical_json([record.labels.sae, record.spec.sae, record.spec.site])] = measurement
    return found


def _mean(by_sae: dict[str, Measurement], complete: bool) -> StateFigure:
    if not by_sae:
        return StateFigure(Cell(NO_VALUE), complete)
    average = mean([by_sae[sae] for sae in sorted(by_sae)])
    return StateFigure(cell_of(average, "" if complete else f" {INCOMPLETE}"), complete)


def _measured(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.status == "ok"]
