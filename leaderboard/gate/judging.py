"""What has become of the figures of one task on one cell.

A figure of quality has regressed if it moved to the worse side by more than its tolerance *and* the 95 % interval of
the step (`paired.py`) excludes zero. A time has if it moved by more than its tolerance and its repeats differ
(`timing.py`); sizes and peaks of memory have no noise worth a test, and are judged by the tolerance alone. Costs are
compared on the same hardware only. What improved is told by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..costs import incomparable, repeats
from ..record import Measurement, Record
from ..text import printable
from .gauge import Gauge, gauge_of
from .paired import Cell, Step, step
from .timing import FEWEST, differ
from .tolerance import Tolerances
from .verdict import Class, Finding


@dataclass(frozen=True)
class Rules:
    """How figures are judged."""

    gauges: Mapping[str, Gauge]
    tolerances: Tolerances = field(default_factory=Tolerances)


class Certainty(NamedTuple):
    """Whether a step is more than chance."""

    known: bool | None
    """None where that cannot be said."""
    note: str
    """How it is known, or why it is not."""


def of_task(name: str, task: str, base: Cell, new: Cell, rules: Rules) -> Iterator[Finding]:
    """A finding for each figure of a task that both cells measured in the same way.

    Args:
        name: what people call the cell.
        task: whose figures to compare.
        base: the cell of the baseline.
        new: the same cell now.
        rules: gauges and tolerances.
    """
    elsewhere, n_costs = incomparable(base.record, new.record), 0
    for metric in dict.fromkeys((*base.record.metrics, *new.record.metrics)):
        if metric.split(".")[0] != task:
            continue
        old, fresh = base.record.metrics.get(metric), new.record.metrics.get(metric)
        gauge = _gauge(metric, fresh or old, rules)
        if elsewhere is not None and gauge.is_cost:
            n_costs += 1
        elif old is None or fresh is None or old.value is None or fresh.value is None:
            yield from _without_value(name, metric, old, fresh)
        else:
            yield from _judged(name, metric, gauge, base, new, rules)
    if n_costs and elsewhere is not None:
        yield Finding(name, f"{task}.*", Class.NOT_COMPARABLE, note=f"{n_costs} costs: {elsewhere}")


def _gauge(metric: str, measurement: Measurement | None, rules: Rules) -> Gauge:
    found = gauge_of(metric, rules.gauges)
    if found is not None or measurement is None:
        return found or Gauge("1", None)
    return Gauge(measurement.unit, None, measurement.kind == "cost")


def _without_value(name: str, metric: str, old: Measurement | None, fresh: Measurement | None) -> Iterator[Finding]:
    before, now = old.value if old else None, fresh.value if fresh else None
    if before is not None and fresh is None:
        yield Finding(name, metric, Class.MISSING, base=before, note="the figure is not measured any more")
    elif before is not None and fresh is not None:
        reason = printable(fresh.reason or "no reason given")
        yield Finding(name, metric, Class.NEWLY_FAILING, fresh.unit, before, note=f"no value: {reason}")
    elif now is not None and fresh is not None:
        verdict, note = (Class.FIXED, "had no value") if old else (Class.NEW, "was not measured before")
        yield Finding(name, metric, verdict, fresh.unit, new=now, note=note)


def _judged(name: str, metric: str, gauge: Gauge, base: Cell, new: Cell, rules: Rules) -> Iterator[Finding]:
    """What has become of a figure that has a value on both sides; nothing where it is not to be judged."""
    tolerance, moved = rules.tolerances.of(metric, gauge), step(metric, gauge, base, new)
    if tolerance is None:
        return
    allowed = tolerance.around(moved.base)
    certainty = _of_cost(metric, gauge, base.record, new.record) if gauge.is_cost else _of_quality(moved)
    verdict, note = Class.SAME, certainty.note
    if abs(moved.size) > allowed and certainty.known is not False:
        verdict, note = _direction(gauge, moved.size, certainty)
    interval = None if gauge.is_cost else moved.interval
    yield Finding(name, metric, verdict, gauge.unit, moved.base, moved.base + moved.size, interval, allowed, note)


def _of_quality(moved: Step) -> Certainty:
    if moved.interval is None:
        return Certainty(None, moved.method)
    return Certainty(not moved.interval[0] <= 0.0 <= moved.interval[1], moved.method)


def _of_cost(metric: str, gauge: Gauge, base: Record, new: Record) -> Certainty:
    if gauge.unit == "bytes":
        return Certainty(True, "by tolerance")
    old, fresh = repeats(base, metric), repeats(new, metric)
    known = differ(old, fresh)
    counts = f"{len(old)} and {len(fresh)} repeats"
    return Certainty(
        known,
        f"Mann-Whitney over {counts}" if known is not None else f"{counts}, too few to tell: {FEWEST} are needed",
    )


def _direction(gauge: Gauge, size: float, certainty: Certainty) -> tuple[Class, str]:
    """Which way a figure moved that moved by more than its tolerance."""
    if certainty.known is None:
        return Class.NOT_COMPARABLE, f"moved beyond its tolerance: {certainty.note}"
    if gauge.higher_is_better is None:
        return Class.NOT_COMPARABLE, "moved beyond its tolerance, and neither direction is better"
    return (Class.IMPROVED if (size > 0.0) == gauge.higher_is_better else Class.REGRESSED), certainty.note
