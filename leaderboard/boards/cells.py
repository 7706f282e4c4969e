"""What tables of a board are made of, before a renderer draws them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Header(NamedTuple):
    """The head of a column."""

    text: str
    numeric: bool
    priority: int = 1
    """1 for what a table is not a table without; columns of the highest number go first where room is short."""
    key: str = ""
    """The metric that stands in the column, or a name of its own: the same on every board."""
    meaning: str = ""
    """What stands in the column; empty where the heading says it all."""
    higher_is_better: bool | None = None


class Cell(NamedTuple):
    """One cell of a table."""

    text: str
    best: bool = False
    """Of rank 1, where not all that compete are."""
    short: str | None = None
    """What stands for the text where room is short."""
    value: float | None = None
    """The figure itself, for sorting and for plots."""
    interval: tuple[float, float] | None = None
    """Its 95 % interval, where it has one."""
    rank: int | None = None
    """1 + the number of rivals that are wholly better; None for what does not compete."""
    tied: bool = False
    """Whether a rival has the same rank."""


class Row(NamedTuple):
    """One line of a table."""

    cells: tuple[Cell, ...]
    cell_ids: tuple[str, ...] = ()
    """The records behind it: one in the table of cells, several where figures are averages."""


@dataclass(frozen=True)
class Grid:
    """One table."""

    name: str
    """`compressors`, `saes`, `cells`, `pareto` or `damage`."""
    title: str
    explanation: str
    """How to read it, in a sentence or two."""
    headers: tuple[Header, ...]
    sections: tuple[tuple[Row, ...], ...]
    """Rows that belong together: those of one SAE, or of one state."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows."""
        return tuple(row for section in self.sections for row in section)
