"""What boards say about metrics: the bridge between the tasks, which define them, and the leaderboard."""

from __future__ import annotations

from ...leaderboard.boards.columns import Definition
from ...tasks import shelf as tasks


def definitions() -> dict[str, Definition]:
    """What boards say about metrics."""
    return {
        name: Definition(metric.unit, metric.higher_is_better, metric.definition)
        for name, metric in tasks.metrics().items()
    }
