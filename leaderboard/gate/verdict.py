"""What the gate says: one finding for each figure and cell, and what they amount to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from ..record import Record
from ..text import printable


class Class(str, Enum):
    """What has become of a figure or a cell, the worst first."""

    REGRESSED = "regressed"
    NEWLY_FAILING = "newly failing"
    MISSING = "missing"
    NOT_COMPARABLE = "not comparable"
    NEW = "new"
    FIXED = "fixed"
    IMPROVED = "improved"
    SAME = "same"


WORSE = (Class.REGRESSED, Class.NEWLY_FAILING)
"""What makes the gate fail."""
EXIT_FINE, EXIT_REGRESSION, EXIT_CELLS_FAILED = 0, 1, 3


@dataclass(frozen=True)
class Finding:
    """What has become of one figure, or of a whole cell or task of it."""

    cell: str
    """`model/compressor/sae`."""
    metric: str | None
    """None for the whole cell; `task.*` for all figures of a task."""
    verdict: Class
    unit: str = "1"
    base: float | None = None
    new: float | None = None
    interval: tuple[float, float] | None = None
    """95 % interval of the step from base to new."""
    tolerance: float | None = None
    """In the metric's unit."""
    note: str = ""
    """How it was found, or why it could not be."""

    @property
    def where(self) -> str:
        """What it is about, in a few words."""
        return f"{self.cell} {self.metric}" if self.metric else self.cell

    @property
    def step(self) -> float | None:
        """New value minus base value."""
        return None if self.base is None or self.new is None else self.new - self.base


@dataclass(frozen=True)
class Verdict:
    """All findings, and how many cells each side had."""

    findings: tuple[Finding, ...]
    n_base: int
    n_new: int
    cells_failed: bool
    """Whether a cell of the new records failed that did not fail in the baseline before."""
    notes: tuple[str, ...] = ()
    """What a reader must know beside the findings: what has changed in what is under test, files left out."""

    @cached_property
    def counts(self) -> dict[Class, int]:
        """How many findings there are of each class."""
        found = Counter(finding.verdict for finding in self.findings)
        return {one: found[one] for one in Class}

    def of(self, *classes: Class) -> list[Finding]:
        """The findings of some classes, the worst class first."""
        return [finding for one in classes for finding in self.findings if finding.verdict is one]

    @property
    def exit_code(self) -> int:
        """1 where something is worse, 3 where cells are missing or failed, 0 otherwise."""
        if self.of(*WORSE):
            return EXIT_REGRESSION
        return EXIT_CELLS_FAILED if self.cells_failed or self.of(Class.MISSING) else EXIT_FINE

    @property
    def digest(self) -> str:
        """The verdict in one sentence."""
        told = ", ".join(f"{count} {one.value}" for one, count in self.counts.items() if count)
        outcome = {EXIT_FINE: "No regression", EXIT_REGRESSION: "Worse than the baseline"}
        head = outcome.get(self.exit_code, "Cells failed or missing")
        compared = sum(self.counts[one] for one in (Class.REGRESSED, Class.IMPROVED, Class.SAME))
        if not compared and self.exit_code == EXIT_FINE:
            head = "Nothing could be compared"
        return f"{head}: {told or 'no figures'} ({self.n_base} cells in the baseline, {self.n_new} now)."


def name_of(record: Record) -> str:
    """What people call a cell."""
    labels = record.labels
    return "/".join(printable(name) for name in (labels.model, labels.compressor, labels.sae))
