"""What the scripts of the page read: cells with their figures, and the parts of their records, each stored once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..boards.board import ModelBoard
from ..boards.columns import Definition
from ..boards.controls import violations
from ..boards.groups import ComparableRecords
from ..boards.matching import unmatched
from ..boards.notes import failure, missing
from ..boards.sections import Section, sections
from ..boards.states import is_dense, is_frozen, row_namer
from ..record import Record, canonical_json
from ..store import cell_path
from ..text import printable
from .quantities import Figure, Quantity, quantities

DIGITS = 6
"""Significant digits of the figures on the page; their records hold all."""
LONGEST_LIST = 24
"""Longer lists (a figure for each latent, each matrix) are left to the record's file."""


class Pool:
    """Values that many cells share, each stored once and named by its place."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        """Where a value stands; it is added if it is new."""
        key = canonical_json(value)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]


def payload(
    groups: Sequence[ComparableRecords], models: Sequence[ModelBoard], definitions: Mapping[str, Definition]
) -> dict[str, Any]:
    """Everything that the scripts read, as JSON; a pure function of the records.

    Args:
        groups: the comparable records.
        models: their boards, in the same order.
        definitions: unit, direction and meaning of metrics by their name in records.
    """
    columns = quantities([record for group in groups for record in group.records], definitions)
    pool = Pool()
    cells: list[dict[str, Any]] = []
    for place, (group, model) in enumerate(zip(groups, models, strict=True)):
        best = _best(model, [column.name for column in columns])
        for cell in _cells(group, columns, pool):
            cells.append({"set": place, **cell, "best": best.get(cell.get("id", ""), [])})
    return {
        "sets": [
            {"model": model.title, "facts": model.facts, "suites": _suites(group)}
            for group, model in zip(groups, models, strict=True)
        ],
        "quantities": [_described(column) for column in columns],
        "cells": cells,
        "pool": pool.values,
    }


def _suites(group: ComparableRecords) -> str:
    return ", ".join(sorted({printable(record.labels.suite) for record in group.records}))


def _described(column: Quantity) -> dict[str, Any]:
    better = {None: 0, True: 1, False: -1}[column.higher_is_better]
    return {
        "name": printable(column.name),
        "title": column.title,
        "unit": printable(column.unit),
        "better": better,
        "definition": column.definition,
        "group": printable(column.group),
        "shown": column.shown,
    }


def _cells(group: ComparableRecords, columns: Sequence[Quantity], pool: Pool) -> Iterator[dict[str, Any]]:
    name_row = row_namer(group.records)
    marked, violated = unmatched(group.records), violations(group.records)
    for part in sections(group.records):
        for record in part.records:
            yield {
                "compressor": name_row(record),
                **_named(record, part),
                **_figures(record, columns, pool),
                "notes": _notes(record, marked, violated),
                "record": _parts(record, pool),
            }
    for sae, compressor in missing(group.records):
        yield {
            "model": group.title,
            "compressor": printable(compressor),
            "sae": printable(sae),
            "status": "missing",
            "reason": "there is no record of this combination",
            "values": [],
        }


def _best(model: ModelBoard, names: Sequence[str]) -> dict[str, list[int]]:
    """By cell id, the places of the quantities in which the cell is the best on the board."""
    places = {name: place for place, name in enumerate(names)}
    found: dict[str, list[int]] = {}
    for row in model.cells.rows:
        best = [
            places[header.key]
            for header, cell in zip(model.cells.headers, row.cells, strict=True)
            if cell.best and header.key in places
        ]
        for cell_id in row.cell_ids:
            found.setdefault(cell_id, []).extend(best)
    return found


def _named(record: Record, part: Section) -> dict[str, Any]:
    return {
        "id": record.cell_id,
        "model": printable(record.labels.model),
        "sae": part.title,
        "source": printable(record.labels.sae_source),
        "frozen": is_frozen(record),
        "dense": is_dense(record),
        "method": _method(record),
        "status": record.status,
        "reason": failure(record),
        "file": cell_path(".", record.labels, record.cell_id).as_posix(),
    }


def _method(record: Record) -> str:
    """What the compressor does, without its strength: states of one method are joined in plots."""
    steps = [step.get("method") for step in record.spec.compressor]
    return printable(" + ".join(str(step) for step in steps if step)) or "dense"


def _figures(record: Record, columns: Sequence[Quantity], pool: Pool) -> dict[str, Any]:
    """Figures in the order of the quantities; intervals and counts at the same places, reasons by place."""
    figures = [column.read(record) for column in columns]
    while figures and figures[-1] == Figure(None):
        figures.pop()
    return {
        "values": [_rounded(figure.value) for figure in figures],
        "low": [_rounded(figure.interval[0]) if figure.interval else None for figure in figures],
        "high": [_rounded(figure.interval[1]) if figure.interval else None for figure in figures],
        "n": pool.place([figure.n for figure in figures]),
        "reasons": pool.place(
            {
                str(place): printable(figure.reason)
                for place, figure in enumerate(figures)
                if figure.reason and figure.value is None
            }
        ),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def _notes(record: Record, marked: Iterable[str], violated: Mapping[str, Sequence[str]]) -> list[str]:
    """What a reader must know before comparing the cell with others."""
    found = [f"control violated: {message}" for message in violated.get(record.cell_id, ())]
    if record.cell_id in marked:
        found.append("L0 not matched with the SAE made for the dense model")
    warnings = (record.compression or {}).get("warnings")
    return found + [printable(str(warning)) for warning in (warnings if isinstance(warnings, list) else [])]


def _parts(record: Record, pool: Pool) -> dict[str, int]:
    """Places of the parts of the record; what is empty is left out, and figures stand with the cell."""
    content = record.model_dump(mode="json", exclude={"metrics", "per_document", "status", "cell_id"})
    spec = content.pop("spec")
    parts = {**content, **{f"spec.{name}": value for name, value in spec.items()}}
    return {name: pool.place(abridged(value)) for name, value in parts.items() if value not in (None, {}, [])}


def abridged(value: Any) -> Any:
    """A JSON value without its long lists: their length stands in their place."""
    if isinstance(value, dict):
        return {key: abridged(item) for key, item in value.items()}
    if isinstance(value, list):
        if len(value) > LONGEST_LIST:
            return f"{len(value):,} entries, in the record's file"
        return [abridged(item) for item in value]
    return value
