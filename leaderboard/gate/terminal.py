"""The verdict in a terminal: the digest, then what is not as it was, the worst first."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from .verdict import EXIT_FINE, Class, Finding, Verdict
from .wording import HEADERS, MARKS, NUMERIC, notes, row, sections

MOST_ROWS = 60
"""Rows of a table; the other reports hold the rest."""
_STYLES = {"✗": "red", "✓": "green"}


def show(verdict: Verdict, console: Console) -> None:
    """Write a verdict to a console."""
    for part in renderables(verdict):
        console.print(part, highlight=False)


def renderables(verdict: Verdict) -> Iterator[RenderableType]:
    """The parts of a verdict for a terminal."""
    yield Text(verdict.digest, style="bold green" if verdict.exit_code == EXIT_FINE else "bold red")
    for one, findings in sections(verdict):
        yield Text(f"{one.value} ({len(findings)})", style=f"bold {_STYLES.get(MARKS.get(one, ''), '')}")
        yield _table(one, findings)
        if len(findings) > MOST_ROWS:
            yield Text(f"... and {len(findings) - MOST_ROWS} more", style="dim")
    for note in notes(verdict):
        yield Text(f"- {note}", style="dim")


def _table(one: Class, findings: list[Finding]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    style = _STYLES.get(MARKS.get(one, ""), "")
    rows = [row(finding) for finding in islice(findings, MOST_ROWS)]
    shown = [index for index in range(len(HEADERS)) if any(cells[index] != "–" for cells in rows)]
    for index in shown:
        table.add_column(HEADERS[index], justify="right" if NUMERIC[index] else "left", overflow="fold")
    for cells in rows:
        table.add_row(*(Text(cells[index], style=style if index < 2 else "") for index in shown))
    return table
