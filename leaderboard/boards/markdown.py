"""A board as Markdown (GitHub's flavour), between two comments, so that a section of a larger page can be replaced."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..record import Record
from .board import Board, Table, build
from .cells import Cell, Header
from .columns import Definition
from .damage import QUESTION, SharedDamage

BEGIN = "<!-- saetransfer:board:begin -->"
END = "<!-- saetransfer:board:end -->"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def render(records: Iterable[Record], definitions: Mapping[str, Definition]) -> str:
    """The board of some records; the same records give the same bytes."""
    return to_markdown(build(records, definitions))


def to_markdown(board: Board) -> str:
    """A board as Markdown, with a newline at the end."""
    parts = [part for table in board.tables for part in _table(table)] or ["No records."]
    if explained := (*board.meanings, *board.marks):
        parts.append("\n".join(f"- *{escape(name)}*: {escape(text)}" for name, text in explained))
    if board.versions:
        parts.append(f"Versions: {escape(board.versions)}.")
    return "\n\n".join([BEGIN, *parts, END]) + "\n"


def escape(text: str) -> str:
    """Text that a Markdown renderer shows as it is, in a table too, whatever marks it holds."""
    marked = re.sub(r"[&<>]", lambda match: _ENTITIES[match.group()], text)
    marked = re.sub(r"([\\`*|\[\]~$])", r"\\\1", marked)
    # Within a word an underscore is no emphasis, and names are full of them.
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", marked)


def _table(table: Table) -> Iterator[str]:
    yield f"### {escape(table.title)}"
    yield f"{escape(table.facts)}. Cells: {table.counts}."
    yield _grid(table.headers, (row for section in table.sections for row in section))
    if table.notes:
        yield "\n".join(f"- {escape(note)}" for note in table.notes)
    if table.failures:
        yield "Cells without figures:"
        yield "\n".join(f"- {escape(failure)}" for failure in table.failures)
    if table.shared_damage is not None:
        yield from _shared_damage(table.shared_damage)


def _shared_damage(shared: SharedDamage) -> Iterator[str]:
    yield f"#### {QUESTION}"
    yield escape(shared.explanation)
    yield _grid(shared.headers, shared.rows)


def _grid(headers: Sequence[Header], rows: Iterable[Sequence[Cell]]) -> str:
    heads = [escape(header.text) for header in headers]
    rules = ["---:" if header.numeric else "---" for header in headers]
    lines = [heads, rules, *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell) -> str:
    return f"**{escape(cell.text)}**" if cell.best else escape(cell.text)
