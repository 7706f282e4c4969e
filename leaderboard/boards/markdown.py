"""A board as Markdown (GitHub's flavour), whole or one section of it; the same records give the same bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from ..record import Record
from .board import Board, ModelBoard, build
from .cells import Cell, Grid
from .columns import Definition
from .legend import marks, meanings
from .place import framed

BOARD, ANSWER = "board", "answer"
"""Names of sections; the others are those of tables."""
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def render(records: Iterable[Record], definitions: Mapping[str, Definition]) -> str:
    """The whole board of some records, with the comments around it: a file."""
    return framed(BOARD, to_markdown(build(records, definitions))) + "\n"


def to_markdown(board: Board, section: str = BOARD) -> str:
    """A board as Markdown.

    Args:
        board: what to write.
        section: `board` for all of it, `answer` for what the records say, or the name of one table.
    """
    parts = [part for model in board.models for part in _model(model, section)] or ["No records."]
    grids = [grid for model in board.models for grid in _chosen(model, section)]
    notes = [note for model in board.models for note in model.notes] if section == BOARD else []
    if explained := (*meanings(grids), *marks(grids, notes)):
        parts.append("\n".join(f"- *{escape(name)}*: {escape(text)}" for name, text in explained))
    if board.versions:
        parts.append(f"Versions: {escape(board.versions)}.")
    if board.hardware:
        parts.append(escape(board.hardware))
    return "\n\n".join(parts)


def escape(text: str) -> str:
    """Text that a Markdown renderer shows as it is, in a table too, whatever marks it holds."""
    marked = re.sub(r"[&<>]", lambda match: _ENTITIES[match.group()], text)
    marked = re.sub(r"([\\`*|\[\]~$])", r"\\\1", marked)
    # Within a word an underscore is no emphasis, and names are full of them.
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", marked)


def _model(model: ModelBoard, section: str) -> Iterator[str]:
    yield f"### {escape(model.title)}"
    yield f"{escape(model.facts)}. Cells: {model.counts}."
    if section in (BOARD, ANSWER):
        yield "\n".join(f"- {escape(sentence)}" for sentence in model.answer)
    for grid in _chosen(model, section):
        yield f"#### {escape(grid.title)}"
        yield escape(grid.explanation)
        yield _table(grid)
    if section == BOARD and model.notes:
        yield "#### Notes"
        yield "\n".join(f"- {escape(note)}" for note in model.notes)
    if section != ANSWER and model.failures:
        yield "Cells without figures:"
        yield "\n".join(f"- {escape(failure)}" for failure in model.failures)


def _chosen(model: ModelBoard, section: str) -> list[Grid]:
    return [grid for grid in model.grids if section in (BOARD, grid.name)]


def _table(grid: Grid) -> str:
    heads = [escape(header.text) for header in grid.headers]
    rules = ["---:" if header.numeric else "---" for header in grid.headers]
    lines = [heads, rules, *([_cell(cell) for cell in row.cells] for row in grid.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell) -> str:
    return f"**{escape(cell.text)}**" if cell.best else escape(cell.text)
