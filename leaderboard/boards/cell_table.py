"""The board of cells: every SAE on every state, with all figures, and how each cell ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from ..record import Record
from .cells import Cell, Grid, Header, Row
from .columns import COLUMNS, L0, Column, Definition, direction, head
from .matching import UNMATCHED
from .notes import short_status, status
from .ranking import among
from .sections import Section
from .states import is_dense, is_random

VIOLATED = "‡"
NAME = "cells"
_TITLE = "All cells"
_EXPLANATION = (
    "One SAE after the other; its states from the smallest transfer gap on. Best figures are among the compressed "
    "states of an SAE: random SAEs, the control, have none."
)


def cell_table(
    parts: Sequence[Section],
    name_state: Callable[[Record], str],
    unmatched: Collection[str],
    violated: Collection[str],
    definitions: Mapping[str, Definition],
) -> Grid:
    """The table of all cells of a comparable group."""
    records = [record for part in parts for record in part.records]
    columns = [column for column in COLUMNS if not column.is_empty(records)]
    heads = [head(column, records, definitions) for column in columns]

    def rows(part: Section) -> tuple[Row, ...]:
        figures = [_figures(column, part.records, unmatched, direction(column, definitions)) for column in columns]
        return tuple(
            Row(
                (
                    Cell(part.title),
                    Cell(name_state(record)),
                    *(column[place] for column in figures),
                    _status(record, violated),
                ),
                (record.cell_id,),
            )
            for place, record in enumerate(part.records)
        )

    names = (Header("SAE", False, 1, "sae"), Header("compressor", False, 1, "compressor"))
    headers = (*names, *heads, Header("status", False, 1, "status"))
    return Grid(NAME, _TITLE, _EXPLANATION, headers, tuple(map(rows, parts)))


def _figures(column: Column, records: Sequence[Record], unmatched: Collection[str], higher: bool | None) -> list[Cell]:
    found = [column.cell(record) for record in records]
    # Among states of a random SAE there is nothing to win: it is the control. Figures of the model are ranked once, in
    # the table of compressors.
    competes = [not (column.of_state or is_dense(record) or is_random(record)) for record in records]
    found = among(found, competes, higher)
    if column.metric == L0:
        found = marked(found, records, unmatched)
    return found


def marked(found: Sequence[Cell], records: Sequence[Record], unmatched: Collection[str]) -> list[Cell]:
    """L0 with a mark where it is not that of the frozen SAE."""
    return [
        cell._replace(text=f"{cell.text} {UNMATCHED}") if record.cell_id in unmatched else cell
        for cell, record in zip(found, records, strict=True)
    ]


def _status(record: Record, violated: Collection[str]) -> Cell:
    mark = f" {VIOLATED}" if record.cell_id in violated else ""
    return Cell(status(record) + mark, short=short_status(record) + mark)
