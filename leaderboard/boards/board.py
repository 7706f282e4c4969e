"""A board as a reader sees it, before it is Markdown, a terminal or a page: a pure function of the records.

Nothing in a board depends on the order of the records, or on when and on which machine they were made. Text from
records is printable when it gets here, but not escaped: what needs escaping is the renderer's knowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..record import Record
from ..text import printable
from .cells import Cell, Header
from .columns import COLUMNS, EXPLANATIONS, GAP, L0, TASKS, Column, Definition, defined, header
from .controls import violations
from .damage import SharedDamage, shared_damage
from .figures import share
from .groups import ComparableRecords, comparable
from .matching import TOLERANCE, unmatched
from .noise import MEANING, NOISE, noise
from .notes import counts, failure, notes, short_status, status, versions
from .sections import Section, sections, state_namer

UNMATCHED = "†"
VIOLATED = "‡"
_MARKS = {
    "±": "half the width of the 95 % interval",
    "bold": "the smallest transfer gap among the compressed states of an SAE; a gap below zero means that the SAE "
    "costs the compressed model less than it costs the dense one",
    UNMATCHED: f"L0 differs by more than {share(TOLERANCE)} from that of the SAE made for the dense model at the same "
    "site and state: not matched, so figures are not comparable at equal sparsity",
    VIOLATED: "a control does not hold for this cell: the notes say which",
    NOISE: MEANING,
}


@dataclass(frozen=True)
class Table:
    """All comparable cells of a model."""

    title: str
    facts: str
    counts: str
    headers: tuple[Header, ...]
    sections: tuple[tuple[tuple[Cell, ...], ...], ...]
    """One entry an SAE; each holds its rows."""
    notes: tuple[str, ...]
    """What a reader must know about this table: what it cannot be compared with, warnings, missing values."""
    failures: tuple[str, ...]
    """Full messages of the cells that have no figures."""
    shared_damage: SharedDamage | None = None
    """Which states damage the same latents, where at least two of a frozen SAE know that."""


@dataclass(frozen=True)
class Board:
    """Everything that a renderer shows."""

    tables: tuple[Table, ...]
    meanings: tuple[tuple[str, str], ...]
    """What stands in a column, by its title."""
    marks: tuple[tuple[str, str], ...]
    """What a mark that occurs on the board means."""
    versions: str
    """Of the packages that made the records."""


def build(records: Iterable[Record], definitions: Mapping[str, Definition]) -> Board:
    """The board of some records.

    Args:
        records: in any order, of any number of models and suites.
        definitions: unit, direction and meaning of metrics by their name in records. A metric without one is shown
            with the unit of its record and without an explanation.
    """
    distinct = _distinct(records)
    groups = comparable(distinct, TASKS)
    tables = tuple(_table(group, groups, definitions) for group in groups)
    return Board(tables, tuple(_meanings(distinct, definitions)), tuple(_marks(tables)), versions(distinct))


def _distinct(records: Iterable[Record]) -> list[Record]:
    """Each cell once, although several suites may hold it under the same names; figures go before failures."""
    newest_first = sorted(records, key=lambda record: record.created_at, reverse=True)
    cells: dict[tuple[str, ...], Record] = {}
    for record in sorted(newest_first, key=lambda record: (record.status != "ok", record.labels.suite)):
        labels = record.labels
        cells.setdefault((labels.model, labels.compressor, labels.sae, labels.sae_source, record.cell_id), record)
    return [cells[key] for key in sorted(cells)]


def _table(
    group: ComparableRecords, groups: Sequence[ComparableRecords], definitions: Mapping[str, Definition]
) -> Table:
    columns = [column for column in COLUMNS if not column.is_empty(group.records)]
    heads = [Header(header(column, group.records, definitions), True, column.priority) for column in columns]
    parts = sections(group.records)
    name_state = state_namer(group.records)
    marked = unmatched(group.records)
    violated = violations(group.records)

    def row(record: Record, section: Section) -> tuple[Cell, ...]:
        figures = _figures(record, section, columns, marked)
        return (
            Cell(section.title),
            Cell(name_state(record)),
            *figures,
            _status(record, violated),
        )

    return Table(
        title=group.title,
        facts=f"{group.facts}, {_sites(group.records)}",
        counts=counts(group.records),
        headers=(Header("SAE", False, 1), Header("compressor", False, 1), *heads, Header("status", False, 1)),
        sections=tuple(tuple(row(record, part) for record in part.records) for part in parts),
        notes=(*notes(group, groups), *noise(group.records), *_violations(parts, name_state, violated)),
        failures=tuple(_failures(parts, name_state)),
        shared_damage=shared_damage(parts, name_state),
    )


def _status(record: Record, violated: Mapping[str, Sequence[str]]) -> Cell:
    mark = f" {VIOLATED}" if record.cell_id in violated else ""
    return Cell(status(record) + mark, short=short_status(record) + mark)


def _violations(
    parts: Sequence[Section], name_state: Callable[[Record], str], violated: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Controls that do not hold; cells with the same message share a line."""
    places: dict[str, list[str]] = {}
    for part in parts:
        for record in part.records:
            for message in violated.get(record.cell_id, ()):
                places.setdefault(message, []).append(f"{part.title} on {name_state(record)}")
    return (f"Control violated by {', '.join(cells)}: {message}." for message, cells in places.items())


def _failures(parts: Sequence[Section], name_state: Callable[[Record], str]) -> Iterator[str]:
    """Full messages of the cells without figures; cells that share a message share a line."""
    places: dict[str, list[str]] = {}
    for part in parts:
        for record in part.records:
            if record.status != "ok":
                places.setdefault(failure(record), []).append(f"{part.title} on {name_state(record)}")
    return (f"{', '.join(cells)}: {message}" for message, cells in places.items())


def _figures(record: Record, section: Section, columns: Sequence[Column], marked: Collection[str]) -> Iterator[Cell]:
    for column in columns:
        text = column.show(record)
        if column.metric == L0 and record.cell_id in marked:
            text = f"{text} {UNMATCHED}"
        yield Cell(text, best=column.metric == GAP and record.cell_id in section.best)


def _sites(records: Iterable[Record]) -> str:
    sites = sorted({printable(record.spec.site) for record in records})
    return f"site {sites[0]}" if len(sites) == 1 else f"{len(sites)} sites"


def _meanings(records: Sequence[Record], definitions: Mapping[str, Definition]) -> Iterator[tuple[str, str]]:
    for column in COLUMNS:
        definition = defined(column.metric, definitions) if column.metric else None
        text = definition.text if definition else EXPLANATIONS.get(column.title)
        if text and not column.is_empty(records):
            yield column.title, text


def _marks(tables: Sequence[Table]) -> Iterator[tuple[str, str]]:
    cells = [cell for table in tables for rows in table.sections for row in rows for cell in row]
    used = {
        "±": any("±" in cell.text for cell in cells),
        "bold": any(cell.best for cell in cells),
        UNMATCHED: any(cell.text.endswith(UNMATCHED) for cell in cells),
        VIOLATED: any(cell.text.endswith(VIOLATED) for cell in cells),
        NOISE: any(note.startswith(NOISE) for table in tables for note in table.notes),
    }
    return ((mark, text) for mark, text in _MARKS.items() if used[mark])
