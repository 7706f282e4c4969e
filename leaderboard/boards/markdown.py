"""A board as Markdown (GitHub's flavour), between two comments, so that a section of a larger page can be replaced."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from ..record import Record
from .board import Board, ModelBoard, build
from .cells import Cell, Grid
from .columns import Definition

BEGIN = "<!-- saetransfer:board:begin -->"
END = "<!-- saetransfer:board:end -->"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def render(records: Iterable[Record], definitions: Mapping[str, Definition]) -> str:
    """The board of some records; the same records give the same bytes."""
    return to_markdown(build(records, definitions))


def to_markdown(board: Board) -> str:
    """A board as Markdown, with a newline at the end."""
    parts = [part for model in board.models for part in _model(model)] or ["No records."]
    if explained := (*board.meanings, *board.marks):
        parts.append("\n".join(f"- *{escape(name)}*: {escape(text)}" for name, text in explained))
    if board.versions:
        parts.append(f"Versions: {escape(board.versions)}.")
    if board.hardware:
        parts.append(escape(board.hardware))
    return "\n\n".join([BEGIN, *parts, END]) + "\n"


def escape(text: str) -> str:
    """Text that a Markdown renderer shows as it is, in a table too, whatever marks it holds."""
    marked = re.sub(r"[&<>]", lambda match: _ENTITIES[match.group()], text)
    marked = re.sub(r"([\\`*|\[\]~$])", r"\\\1", marked)
    # Within a word an underscore is no emphasis, and names are full of them.
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", marked)


def _model(model: ModelBoard) -> Iterator[str]:
    yield f"### {escape(model.title)}"
    yield f"{escape(model.facts)}. Cells: {model.counts}."
    yield "\n".join(f"- {escape(sentence)}" for sentence in model.answer)
    damage = () if model.shared_damage is None else (model.shared_damage.grid,)
    for grid in (*model.grids, *damage):
        yield f"#### {escape(grid.title)}"
        yield escape(grid.explanation)
        yield _grid(grid)
    if model.notes:
        yield "\n".join(f"- {escape(note)}" for note in model.notes)
    if model.failures:
        yield "Cells without figures:"
        yield "\n".join(f"- {escape(failure)}" for failure in model.failures)


def _grid(grid: Grid) -> str:
    heads = [escape(header.text) for header in grid.headers]
    rules = ["---:" if header.numeric else "---" for header in grid.headers]
    lines = [heads, rules, *([_cell(cell) for cell in row.cells] for row in grid.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell) -> str:
    return f"**{escape(cell.text)}**" if cell.best else escape(cell.text)
