"""A board in the terminal: the same figures as in Markdown, without the columns for which there is no room."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from .board import Board, Table
from .cells import Cell

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
    if not board.tables:
        yield Text("No records.")
    for table in board.tables:
        yield Text.assemble((table.title, "bold"), f": {table.facts}. Cells: {table.counts}.")
        yield _grid(table, width)
        for line in (*table.notes, *table.failures):
            yield Text(f"- {line}")
        for line in table.shared_damage.summary if table.shared_damage else ():
            yield Text(f"- {line}")
    for name, text in board.marks:
        yield Text(f"{name}: {text}", style="dim")
    if board.versions:
        yield Text(f"Versions: {board.versions}.", style="dim")


def _grid(table: Table, width: int) -> RichTable:
    widths = _widths(table, width)
    grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, column_width in widths.items():
        header = table.headers[index]
        justify = "right" if header.numeric else "left"
        grid.add_column(Text(header.text), justify=justify, overflow="fold", width=column_width)
    for section in table.sections:
        for position, row in enumerate(section):
            # The SAE's name stands once, at the head of its section.
            cells = [Text() if index == 0 and position > 0 else _cell(row[index]) for index in widths]
            grid.add_row(*cells, end_section=position == len(section) - 1)
    return grid


def _widths(table: Table, width: int) -> dict[int, int]:
    """Widths of the columns to show, by index; those of the least importance go first, of equal ones the rightmost."""
    widths = {index: _needed(table, index) for index in range(len(table.headers))}
    while sum(widths.values()) + _GUTTER * len(widths) > width:
        least = max(widths, key=lambda index: (table.headers[index].priority, index))
        if table.headers[least].priority == 1:
            break
        del widths[least]
    # The names of SAEs take what room is left, so that fewer of them are folded.
    spare = max(0, width - sum(widths.values()) - _GUTTER * len(widths))
    longest = max(cell_len(section[0][0].text) for section in table.sections)
    widths[0] = max(widths[0], min(widths[0] + spare, longest))
    return widths


def _needed(table: Table, index: int) -> int:
    """Characters that a column needs; headings, and the names of SAEs, may be folded at spaces, long names anywhere."""
    texts = [row[index].short or row[index].text for section in table.sections for row in section]
    if index == 0:
        texts = [word for text in texts for word in text.split()]
    heading = re.split(r" (?![↑↓])", table.headers[index].text)
    needed = max(map(cell_len, [*heading, *texts]))
    return needed if table.headers[index].numeric else min(needed, _NAME_WIDTH)


def _cell(cell: Cell) -> Text:
    style = next((style for status, style in _STATUS_STYLES.items() if cell.text.startswith(f"{status} (")), "")
    return Text(cell.short or cell.text, style="bold green" if cell.best else style)
