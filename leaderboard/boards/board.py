"""A board as a reader sees it, before it is Markdown, a terminal or a page: a pure function of the records.

Nothing in a board depends on the order of the records, on the folders they come from, or on when they were made. Text
from records is printable when it gets here, but not escaped: what needs escaping is the renderer's knowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..record import Record
from ..text import printable
from .answer import answer
from .cell_table import cell_table
from .cells import Grid
from .columns import TASKS, Definition
from .compressors import compressors, figures_of
from .controls import violations
from .damage import SharedDamage, shared_damage
from .groups import ComparableRecords, comparable
from .hardware import Machines
from .legend import marks, meanings
from .matching import unmatched
from .noise import noise
from .notes import counts, failure, notes, versions
from .pareto import Front, fronts, pareto
from .saes import contests, saes
from .sections import Section, sections
from .states import row_namer, states


@dataclass(frozen=True)
class ModelBoard:
    """All comparable cells of one model: one text, one seed, one version of every task that is shown."""

    title: str
    """The model."""
    facts: str
    """Text, tokens, context, seed and sites."""
    counts: str
    """How many cells ended in which way."""
    answer: tuple[str, ...]
    """What these records say about the paper's two claims, in sentences."""
    compressors: Grid | None
    """What each compressor costs; None where no state is compressed."""
    saes: Grid | None
    """All SAEs of each state side by side; None where there are only frozen and random ones."""
    cells: Grid
    """Every cell."""
    pareto: Grid | None
    """Which states are on which fronts; None where fewer than two states have the figures."""
    fronts: tuple[Front, ...]
    """The same, to be drawn."""
    notes: tuple[str, ...]
    """What a reader must know: what this cannot be compared with, warnings, missing values."""
    failures: tuple[str, ...]
    """Full messages of the cells that have no figures."""
    shared_damage: SharedDamage | None = None
    """Which states damage the same latents, where at least two of a frozen SAE know that."""

    @property
    def grids(self) -> tuple[Grid, ...]:
        """All tables that there are, in the order in which they are read."""
        damage = None if self.shared_damage is None else self.shared_damage.grid
        return tuple(one for one in (self.compressors, self.saes, self.pareto, self.cells, damage) if one is not None)


@dataclass(frozen=True)
class Board:
    """Everything that a renderer shows."""

    models: tuple[ModelBoard, ...]
    meanings: tuple[tuple[str, str], ...]
    """What stands in a column, by its title."""
    marks: tuple[tuple[str, str], ...]
    """What a mark that occurs on the board means."""
    versions: str
    """Of the packages that made the records."""
    hardware: str
    """What the records were made on; a sentence."""


def build(records: Iterable[Record], definitions: Mapping[str, Definition]) -> Board:
    """The board of some records.

    Args:
        records: in any order, of any number of models and suites.
        definitions: unit, direction and meaning of metrics by their name in records. A metric without one is shown
            with the unit of its record, without an explanation, and is not ranked.
    """
    cells = distinct(records)
    groups = comparable(cells, TASKS)
    machines = Machines(cells)
    models = tuple(_model(group, groups, machines, definitions) for group in groups)
    grids = [grid for model in models for grid in model.grids]
    told = [note for model in models for note in model.notes]
    return Board(models, meanings(grids), marks(grids, told), versions(cells), machines.sentence)


def distinct(records: Iterable[Record]) -> list[Record]:
    """Each cell once, although several suites may hold it under the same names; figures go before failures."""
    newest_first = sorted(records, key=lambda record: record.created_at, reverse=True)
    cells: dict[tuple[str, ...], Record] = {}
    for record in sorted(newest_first, key=lambda record: (record.status != "ok", record.labels.suite)):
        labels = record.labels
        cells.setdefault((labels.model, labels.compressor, labels.sae, labels.sae_source, record.cell_id), record)
    return [cells[key] for key in sorted(cells)]


def _model(
    group: ComparableRecords,
    groups: Sequence[ComparableRecords],
    machines: Machines,
    definitions: Mapping[str, Definition],
) -> ModelBoard:
    known = states(group.records)
    parts = sections(group.records)
    name_row = row_namer(group.records)
    marked = unmatched(group.records)
    violated = violations(group.records)
    fought = contests(known, marked)
    found = fronts(known, figures_of(known, machines, definitions), machines, definitions)
    return ModelBoard(
        title=group.title,
        facts=f"{group.facts}, {_sites(group.records)}",
        counts=counts(group.records),
        answer=answer(known, fought, len(violated)),
        compressors=compressors(known, machines, definitions),
        saes=saes(known, fought, marked, definitions),
        cells=cell_table(parts, name_row, marked, violated, definitions),
        pareto=pareto(found),
        fronts=found,
        notes=(*notes(group, groups), *noise(group.records), *_violations(parts, name_row, violated)),
        failures=tuple(_failures(parts, name_row)),
        shared_damage=shared_damage(parts, name_row),
    )


def _violations(
    parts: Sequence[Section], name_row: Callable[[Record], str], violated: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Controls that do not hold; cells with the same message share a line."""
    told = _places(parts, name_row, lambda record: violated.get(record.cell_id, ()))
    return (f"Control violated by {', '.join(cells)}: {message}." for message, cells in told.items())


def _failures(parts: Sequence[Section], name_row: Callable[[Record], str]) -> Iterator[str]:
    """Full messages of the cells without figures; cells that share a message share a line."""
    told = _places(parts, name_row, lambda record: () if record.status == "ok" else (failure(record),))
    return (f"{', '.join(cells)}: {message}" for message, cells in told.items())


def _places(
    parts: Sequence[Section], name_row: Callable[[Record], str], messages: Callable[[Record], Sequence[str]]
) -> dict[str, list[str]]:
    """Which cells each message is about."""
    places: dict[str, list[str]] = {}
    for part in parts:
        for record in part.records:
            for message in messages(record):
                places.setdefault(message, []).append(f"{part.title} on {name_row(record)}")
    return places


def _sites(records: Iterable[Record]) -> str:
    sites = sorted({printable(record.spec.site) for record in records})
    return f"site {sites[0]}" if len(sites) == 1 else f"{len(sites)} sites"
