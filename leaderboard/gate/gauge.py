"""What the gate has to know of a metric: which way is better, and how it follows from the sums of single documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..boards.columns import defined

Totals = Mapping[str, np.ndarray]
"""Sums by name: one number a draw of documents."""


@dataclass(frozen=True)
class Gauge:
    """One metric, as the gate reads it."""

    unit: str
    """`1` for a ratio, otherwise `nats`, `bytes`, `seconds`, ..."""
    higher_is_better: bool | None
    """None where neither direction is better."""
    is_cost: bool = False
    """Whether it is a cost (time, memory), which only means something on the same hardware."""
    compute: Callable[[Totals, Totals], np.ndarray] | None = None
    """From a cell's own sums and those of the same SAE on the dense state to a value a draw; NaN where it has none.

    Raises:
        KeyError: a sum that it needs is not there.
    """
    valid_range: tuple[float | None, float | None] = (None, None)
    """Smallest and largest possible value; None for no bound."""
    definition: str = ""


def gauge_of(metric: str, gauges: Mapping[str, Gauge]) -> Gauge | None:
    """The gauge of a metric; a figure of one data set has that of the figure over all of them, but not its sums."""
    if metric in gauges:
        return gauges[metric]
    found = defined(metric, gauges)
    return None if found is None else replace(found, compute=None)
