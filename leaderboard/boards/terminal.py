"""A board in the terminal: the same figures as in Markdown, without the columns for which there is no room."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from .board import Board, ModelBoard
from .cells import Cell, Grid

WIDTH = 120
"""Columns that a board takes at most, so that it reads the same in a wide terminal and in a log."""
_GUTTER = 3
"""Spaces between two columns."""
_NAME_WIDTH = 24
"""Names longer than that are folded, so that they leave room for figures."""
_STATUS_STYLES = {"failed": "red", "skipped": "yellow"}


def show(board: Board, console: Console) -> None:
    """Write a board to a console."""
    for part in renderables(board, min(console.width, WIDTH)):
        console.print(part, width=min(console.width, WIDTH), highlight=False)


def renderables(board: Board, width: int = WIDTH) -> Iterator[RenderableType]:
    """The parts of a board for a terminal of that width."""
    if not board.models:
        yield Text("No records.")
    for model in board.models:
        yield from _model(model, width)
    for name, text in board.marks:
        yield Text(f"{name}: {text}", style="dim")
    for text in (f"Versions: {board.versions}." if board.versions else "", board.hardware):
        if text:
            yield Text(text, style="dim")


def _model(model: ModelBoard, width: int) -> Iterator[RenderableType]:
    yield Text.assemble((model.title, "bold"), f": {model.facts}. Cells: {model.counts}.")
    for sentence in model.answer:
        yield Text(f"- {sentence}")
    for grid in (model.compressors, model.saes, model.cells):
        if grid is not None:
            yield Text(f"\n{grid.title}", style="bold")
            yield _table(grid, width)
    summary = model.shared_damage.summary if model.shared_damage else ()
    for line in (*model.notes, *model.failures, *summary):
        yield Text(f"- {line}")


def _table(grid: Grid, width: int) -> RichTable:
    widths = _widths(grid, width)
    table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, column_width in widths.items():
        header = grid.headers[index]
        justify = "right" if header.numeric else "left"
        table.add_column(Text(header.text), justify=justify, overflow="fold", width=column_width)
    # What the rows of a section share, the SAE or the state, stands once, at its head.
    shared = [len({row.cells[0].text for row in section}) == 1 for section in grid.sections]
    for section, named_once in zip(grid.sections, shared, strict=True):
        for position, row in enumerate(section):
            hidden = named_once and position > 0 and not grid.headers[0].numeric
            cells = [Text() if index == 0 and hidden else _cell(row.cells[index]) for index in widths]
            table.add_row(*cells, end_section=position == len(section) - 1)
    return table


def _widths(grid: Grid, width: int) -> dict[int, int]:
    """Widths of the columns to show, by index; those of the least importance go first, of equal ones the rightmost."""
    widths = {index: _needed(grid, index) for index in range(len(grid.headers))}
    while sum(widths.values()) + _GUTTER * len(widths) > width:
        least = max(widths, key=lambda index: (grid.headers[index].priority, index))
        if grid.headers[least].priority == 1:
            break
        del widths[least]
    # Names take what room is left, so that fewer of them are folded.
    for index in (index for index in widths if not grid.headers[index].numeric):
        spare = max(0, width - sum(widths.values()) - _GUTTER * len(widths))
        longest = max(cell_len(_text(row.cells[index])) for row in grid.rows)
        widths[index] = max(widths[index], min(widths[index] + spare, longest))
    return widths


def _needed(grid: Grid, index: int) -> int:
    """Characters that a column needs; headings, and names in it, may be folded at spaces, long names anywhere."""
    is_name = not grid.headers[index].numeric
    texts = [_text(row.cells[index]) for row in grid.rows]
    if is_name:
        texts = [word for text in texts for word in text.split()]
    heading = re.split(r" (?![↑↓])", grid.headers[index].text)
    needed = max(map(cell_len, [*heading, *texts]))
    return min(needed, _NAME_WIDTH) if is_name else needed


def _text(cell: Cell) -> str:
    return cell.short or cell.text


def _cell(cell: Cell) -> Text:
    style = next((style for status, style in _STATUS_STYLES.items() if cell.text.startswith(f"{status} (")), "")
    return Text(_text(cell), style="bold green" if cell.best else style)
