"""All tasks, by the name that suites give them."""

from __future__ import annotations

from .metric import Metric
from .perplexity import Perplexity
from .reconstruction import Reconstruction
from .task import Task

TASKS: dict[str, Task] = {task.name: task for task in (Reconstruction(), Perplexity())}


def metrics() -> dict[str, Metric]:
    """All metrics, by name, in the order in which tasks declare them."""
    return {metric.name: metric for task in TASKS.values() for metric in task.metrics}
