"""From the sums of a cell to what its record says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...leaderboard.record import Measurement
from ...tasks.estimate import estimate
from ...tasks.metric import Estimate, Metric, UnitSums
from ...tasks.task import Sums, Task, with_dense_cell
from ..running.job import PairedSums


@dataclass(frozen=True)
class Figures:
    """What tasks found on a cell, as its record keeps it."""

    metrics: dict[str, Measurement]
    per_document: PairedSums
    details: dict[str, Any]
    table: Mapping[str, np.ndarray] | None
    """Columns by latent, where a task was asked for them."""


def figures(tasks: Sequence[Task], counted: Mapping[str, Sums], dense: PairedSums | None, seed: int) -> Figures:
    """Values and intervals of one cell.

    Args:
        counted: the sums of every task.
        dense: sums of the same SAE on the dense state; None where this is that cell.
    """
    own = _paired(tasks, counted)
    reference = own if dense is None else {name: np.asarray(values, np.float64) for name, values in dense.items()}
    metrics: dict[str, Measurement] = {}
    for task in tasks:
        sums = with_dense_cell(counted[task.name], reference)
        found = estimate(task.metrics, sums, seed)
        metrics |= {metric.name: _measurement(metric, found[metric.name], sums) for metric in task.metrics}
    # What is not finite is no sum to compare with; the figures that need it say why they have no value.
    per_document = {name: values.tolist() for name, values in own.items() if np.isfinite(values).all()}
    details = {task.name: dict(counted[task.name].details) for task in tasks if counted[task.name].details}
    table = next((sums.table for sums in counted.values() if sums.table is not None), None)
    return Figures(metrics, per_document, details, table)


def _paired(tasks: Sequence[Task], counted: Mapping[str, Sums]) -> UnitSums:
    """The sums that a paired comparison needs."""
    return {
        name: values
        for task in tasks
        for units in counted[task.name].samples.values()
        for name, values in units.items()
        if name in task.paired
    }


def _measurement(metric: Metric, found: Estimate, sums: Sums) -> Measurement:
    n = int(sums.total(metric.counted))
    return Measurement(value=found.value, unit=metric.unit, ci=found.ci, n=n, reason=found.reason, halves=found.halves)
