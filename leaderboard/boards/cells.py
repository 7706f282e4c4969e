"""What a table of a board is made of, before a renderer draws it."""

from __future__ import annotations

from typing import NamedTuple


class Header(NamedTuple):
    """The head of a column."""

    text: str
    numeric: bool
    priority: int = 1
    """1 for what a table is not a table without; columns of the highest number go first where room is short."""


class Cell(NamedTuple):
    """One cell of a table."""

    text: str
    best: bool = False
    short: str | None = None
    """What stands for the text where room is short."""
