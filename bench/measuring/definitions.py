"""What the leaderboard is told about metrics: the bridge to the tasks, which define them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...leaderboard.boards.columns import Definition
from ...leaderboard.gate.gauge import Gauge, Totals
from ...tasks import shelf as tasks
from ...tasks.metric import Metric, Quantity
from ...tasks.task import DENSE_CELL


def definitions() -> dict[str, Definition]:
    """What boards say about metrics."""
    return {
        name: Definition(metric.unit, metric.higher_is_better, metric.definition)
        for name, metric in tasks.metrics().items()
    }


def gauges() -> dict[str, Gauge]:
    """What the gate has to know of metrics."""
    return {
        name: Gauge(
            metric.unit,
            metric.higher_is_better,
            metric.kind == "cost",
            _compute(metric),
            metric.valid_range,
            metric.definition,
        )
        for name, metric in tasks.metrics().items()
    }


def _compute(metric: Quantity) -> Callable[[Totals, Totals], np.ndarray] | None:
    """The metric from a cell's sums and those of its dense cell; None where it follows from none."""
    if not isinstance(metric, Metric) or not metric.resampled:
        return None

    def compute(own: Totals, dense: Totals) -> np.ndarray:
        return np.asarray(metric.compute({**own, **{DENSE_CELL + name: values for name, values in dense.items()}}))

    return compute
