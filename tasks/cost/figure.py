"""A cost as it was measured on one state or SAE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .timing import FEW_REPEATS, Timing, median_interval

ONCE = "no interval: measured once"
EXACT = "no interval: counted, not measured"
_DIGITS = 6


@dataclass(frozen=True)
class CostFigure:
    """The value of a cost, or why it has none."""

    value: float | None
    reason: str | None = None
    """Why there is no value, or no interval."""
    ci: tuple[float, float] | None = None
    """95 % interval of the median repeat."""
    n: int | None = None
    """How many calls, or tokens, stand behind the value."""
    repeats: tuple[float, ...] = ()
    """The value of each repeat."""


CostFigures = Mapping[str, CostFigure]
"""By the name of their metric."""


def once(value: float, n: int | None = None) -> CostFigure:
    """A cost that was measured once."""
    return CostFigure(value, ONCE, n=n)


def counted(value: float) -> CostFigure:
    """A cost that is no measurement: the same whenever and wherever it is counted."""
    return CostFigure(float(value), EXACT)


def without(reason: str) -> CostFigure:
    """A cost that cannot be had."""
    return CostFigure(None, reason)


def milliseconds(timing: Timing) -> CostFigure:
    """Milliseconds of a call."""
    return _median([1000.0 * seconds for seconds in timing.repeats], len(timing.calls))


def per_second(timing: Timing, tokens: int) -> CostFigure:
    """Tokens in a second, from what a call does."""
    return _median([tokens / seconds for seconds in timing.repeats], len(timing.calls))


def tail(timing: Timing, share: float) -> CostFigure:
    """Milliseconds that this share of the calls does not exceed."""
    n = len(timing.calls)
    return CostFigure(1000.0 * timing.quantile(share), f"no interval: a tail of {n} calls", n=n)


def speedup(own: CostFigure, dense: Sequence[float]) -> CostFigure:
    """A speed over that of the dense state, from its repeats.

    The interval takes both intervals at their ends: it holds the ratio wherever both hold their medians.
    """
    if own.value is None:
        return own
    ratio, interval = own.value / float(np.median(dense)), median_interval(dense)
    if own.ci is None or interval is None:
        return CostFigure(ratio, FEW_REPEATS, n=own.n)
    return CostFigure(ratio, ci=(own.ci[0] / interval[1], own.ci[1] / interval[0]), n=own.n)


def _median(repeats: Sequence[float], n: int) -> CostFigure:
    interval = median_interval(repeats)
    kept = tuple(float(f"{value:.{_DIGITS}g}") for value in repeats)
    return CostFigure(float(np.median(repeats)), None if interval else FEW_REPEATS, interval, n, kept)
