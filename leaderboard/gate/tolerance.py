"""How far a figure may move before the gate calls it a change.

For metrics that nobody has given a tolerance for:

    quality    0.01, or 1 % of base values above 1, in the metric's unit
    memory     5 % of the base value
    time       10 % of the base value: the factor 1.1 of asv
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from .gauge import Gauge


@dataclass(frozen=True)
class Tolerance:
    """How far a figure may move: the larger of both."""

    absolute: float = 0.0
    """In the metric's unit."""
    relative: float = 0.0
    """As a share of the base value."""

    def around(self, value: float) -> float:
        """What that is for a base value, in the metric's unit."""
        return max(self.absolute, self.relative * abs(value))


_QUALITY, _MEMORY, _TIME = Tolerance(absolute=0.01, relative=0.01), Tolerance(relative=0.05), Tolerance(relative=0.1)


@dataclass(frozen=True)
class Tolerances:
    """Tolerances by metric; a pattern (`probing.*`) may stand for several, and later ones win."""

    given: Mapping[str, Tolerance | None] = field(default_factory=dict)
    """None for metrics that the gate leaves alone."""

    def of(self, metric: str, gauge: Gauge) -> Tolerance | None:
        """The tolerance of a metric; None where it is not to be judged."""
        matching = [tolerance for pattern, tolerance in self.given.items() if fnmatchcase(metric, pattern)]
        return matching[-1] if matching else _default(gauge)


def parse(text: str) -> Tolerance | None:
    """What a user wrote: `0.02` in the metric's unit, `5%` of the base value, `ignore` for none.

    Raises:
        ValueError: anything else; the message says what is allowed.
    """
    written = text.strip()
    if written == "ignore":
        return None
    number, percent, rest = written.partition("%")
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    if rest or not (math.isfinite(amount) and amount >= 0.0):
        raise ValueError(
            "a tolerance is a number in the metric's unit (0.02), a share of the base value (5%), or 'ignore'; "
            f"got '{text}'"
        )
    return Tolerance(relative=amount / 100.0) if percent else Tolerance(absolute=amount)


def _default(gauge: Gauge) -> Tolerance:
    if not gauge.is_cost:
        return _QUALITY
    return _MEMORY if gauge.unit == "bytes" else _TIME
