"""What `saetransfer try` prints: a table of the compressor and others, a verdict or a reason, lines for a suite."""

from __future__ import annotations

import inspect
import math
import textwrap
from collections.abc import Sequence

import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from ...leaderboard.boards.columns import Column, header, of_states
from ...leaderboard.record import Failure, Record
from ...registry.compressors.method import Compressor
from ...registry.compressors.outcome import NotCompressed
from ..measuring.definitions import definitions
from ..planning.suite import Definition
from . import verdict

_ONE_LINE_WIDTH = 115
"""Columns of a terminal from which on a row takes one line."""
_SPACED_WIDTH = 95
"""And from which on there is room between its columns."""
_HEADING_WIDTH = 9


def show(
    record: Record, others: Sequence[Record], compressor: Compressor, definition: Definition, console: Console
) -> None:
    """Print what became of one compressor.

    Args:
        record: of the compressor.
        others: of those that it is shown beside.
        definition: the compressor as a suite would write it.
    """
    console.print(_table([*others, record], console.width))
    if record.error is None:
        paragraphs = [" ".join(verdict.sentences(record, others)), *_warnings(record), _as_yaml(definition)]
    else:
        paragraphs = [_reason(record, record.error), *_warnings(record), _frames(record.error, compressor)]
    for paragraph in filter(None, paragraphs):
        # Lines to copy stay whole; those of a verdict are folded at the edge of the terminal.
        console.print(f"\n{paragraph}", markup=False, highlight=False, soft_wrap="\n" in paragraph)


def _table(records: Sequence[Record], width: int) -> Table:
    """A row a compressor, the last one marked; where room is short, intervals stand below their values."""
    is_narrow = width < _ONE_LINE_WIDTH
    padding = 0 if width < _SPACED_WIDTH else 1
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, padding))
    table.add_column("compressor", overflow="fold")
    columns = of_states(records)
    for column in columns:
        table.add_column(_heading(column), justify="right", no_wrap=True)
    *_, last = records
    for record in records:
        figures = [column.show(record).replace(" ± ", "\n±" if is_narrow else " ±") for column in columns]
        style = "" if record is not last else "bold green" if record.status == "ok" else "bold red"
        table.add_row(record.labels.compressor, *figures, style=style, end_section=record is records[-2])
    return table


def _heading(column: Column) -> str:
    # That L0 counts latents is known, and the word would make it the widest column.
    title = header(column, (), definitions()).removesuffix(" (latents)")
    return textwrap.fill(title, _HEADING_WIDTH, break_long_words=False)


def _warnings(record: Record) -> list[str]:
    return [f"Warning: {warning}" for warning in (record.compression or {}).get("warnings", [])]


def _reason(record: Record, error: Failure) -> str:
    name = record.labels.compressor
    if record.status == "skipped":
        return f"{name} cannot run here: {error.message}"
    if error.type == NotCompressed.__name__:
        return f"{name} is not verified (phase {error.phase}). {error.message}"
    return f"{name} failed (phase {error.phase}): {error.type}: {error.message}"


def _frames(error: Failure, compressor: Compressor) -> str:
    """Of a traceback, what begins in the author's file; nothing where the file does not occur."""
    function = compressor.steps[-1].method.function
    file = inspect.getsourcefile(inspect.unwrap(function)) if compressor.tier == "user" else None
    _, found, frames = (error.traceback or "").partition(f'  File "{file}"')
    return f"Traceback (most recent call last):\n{found}{frames.rstrip()}" if found else ""


def _as_yaml(definition: Definition) -> str:
    lines = yaml.safe_dump({"compressors": [definition]}, default_flow_style=False, sort_keys=False, width=math.inf)
    return f"In a suite in this folder:\n\n{lines.rstrip()}"
