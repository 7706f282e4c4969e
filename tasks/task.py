"""What a task is: its metrics, and a meter that is fed batches and gives sums."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from .batch import CellBatch
from .metric import Metric, Totals, UnitSums


@dataclass(frozen=True)
class Sums:
    """What a task has counted on one cell."""

    by_unit: UnitSums
    """Sums by document: intervals and paired comparisons follow from them."""
    constants: Totals = field(default_factory=dict)
    """Totals that have no share of a document."""


@runtime_checkable
class Meter(Protocol):
    """The counting of one task on one cell."""

    def update(self, batch: CellBatch) -> None:
        """Count a batch; batches may be of any size and come in any order."""
        ...

    def sums(self) -> Sums:
        """What has been counted."""
        ...


@runtime_checkable
class Task(Protocol):
    """A family of metrics measured on a cell."""

    @property
    def name(self) -> str:
        """As suites name it."""
        ...

    @property
    def version(self) -> int:
        """Raised whenever a figure would come out otherwise; part of the cell id."""
        ...

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All its metrics."""
        ...

    @property
    def paired(self) -> tuple[str, ...]:
        """Sums that records keep by document, for paired comparisons between cells."""
        ...

    def meter(self, n_units: int) -> Meter:
        """A new count over that many resampling units."""
        ...
