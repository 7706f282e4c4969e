"""Findings in words, the same in every report: one row of short texts each, safe to show in one line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..boards.figures import NO_VALUE, number
from ..text import printable, shortened
from .verdict import Class, Finding, Verdict

HEADERS = ("cell", "metric", "baseline", "now", "step", "tolerance", "how it is known, or why not")
NUMERIC = (False, False, True, True, True, True, False)
MARKS = {Class.REGRESSED: "✗", Class.NEWLY_FAILING: "✗", Class.MISSING: "✗", Class.FIXED: "✓", Class.IMPROVED: "✓"}
TOLD = tuple(one for one in Class if one is not Class.SAME)
"""Classes whose findings are listed; the others are only counted."""
_STEP_DIGITS = 3
_NOTE_LENGTH = 200
"""Messages of exceptions may be pages long."""


class Row(NamedTuple):
    """One finding in words."""

    cell: str
    metric: str
    base: str
    new: str
    step: str
    tolerance: str
    note: str


def row(finding: Finding) -> Row:
    """A finding as the cells of a table."""
    return Row(
        printable(finding.cell),
        printable(finding.metric or "(whole cell)"),
        _value(finding.base, finding.unit),
        _value(finding.new, finding.unit),
        _step(finding),
        NO_VALUE if finding.tolerance is None else number(finding.tolerance, _STEP_DIGITS),
        shortened(printable(finding.note), _NOTE_LENGTH),
    )


def sentence(finding: Finding) -> str:
    """A finding in one sentence."""
    what = row(finding)
    where = what.cell if finding.metric is None else f"{what.cell}, {what.metric}"
    figures = (
        f" {what.base} -> {what.new} ({what.step}; tolerance {what.tolerance})" if finding.step is not None else ""
    )
    return f"{finding.verdict.value}: {where}{figures}: {what.note}" if what.note else f"{where}{figures}"


def notes(verdict: Verdict) -> list[str]:
    """What a reader must know beside the findings, a line each."""
    return [shortened(printable(note), _NOTE_LENGTH) for note in verdict.notes]


def sections(verdict: Verdict) -> Iterator[tuple[Class, list[Finding]]]:
    """The findings that are listed, by class, the worst first; classes without any are left out."""
    for one in TOLD:
        if found := verdict.of(one):
            yield one, found


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return NO_VALUE
    return number(value) if unit == "1" else f"{number(value)} {printable(unit)}"


def _step(finding: Finding) -> str:
    """The step with its interval: `+0.021 [+0.018, +0.025]`."""
    if finding.step is None:
        return NO_VALUE
    interval = f" [{_signed(finding.interval[0])}, {_signed(finding.interval[1])}]" if finding.interval else ""
    return _signed(finding.step) + interval


def _signed(value: float) -> str:
    return f"{'+' if value > 0.0 else ''}{number(value, _STEP_DIGITS)}"
