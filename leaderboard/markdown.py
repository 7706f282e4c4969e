"""A board as Markdown (GitHub's flavour), between two comments, so that a section of a larger page can be replaced."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from .boards import Board, Cell, Table, build
from .columns import Definition
from .record import Record

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
    rules = ["---:" if header.numeric else "---" for header in table.headers]
    rows = [[_cell(cell) for cell in row] for section in table.sections for row in section]
    yield "\n".join(
        f"| {' | '.join(row)} |" for row in [[escape(header.text) for header in table.headers], rules, *rows]
    )
    if table.notes:
        yield "\n".join(f"- {escape(note)}" for note in table.notes)
    if table.failures:
        yield "Cells without figures:"
        yield "\n".join(f"- {escape(failure)}" for failure in table.failures)


def _cell(cell: Cell) -> str:
    return f"**{escape(cell.text)}**" if cell.best else escape(cell.text)
