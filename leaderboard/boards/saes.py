"""The board of SAEs on compressed models: frozen, native, finetuned and pruned ones on each state, side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from ..record import Measurement, Record
from ..text import printable
from .cell_table import marked
from .cells import Cell, Grid, Header, Row
from .columns import COLUMNS, GAP, L0, SAE_COST, SPLICED, VARIANCE, Column, Definition, cell_of, direction, head
from .compressors import RANK
from .figures import NO_VALUE
from .matching import UNMATCHED
from .paired import reference, won_back
from .ranking import among, shown_rank
from .states import State, is_random, sae_title, source_place

NAME = "saes"
_TITLE = "SAEs on each state"
_EXPLANATION = (
    "All SAEs of a state and site, ranked by the cross-entropy that they cost the state. Won back is what a frozen SAE "
    f"costs more than this one on the same tokens. Those marked {UNMATCHED} have another L0 and do not compete."
)
_WON = Header(
    "won back (nats) ↑",
    True,
    1,
    "won_back",
    "spliced cross-entropy with the frozen SAE (the one it was made from, else the one of the nearest L0) minus that "
    "with this SAE, on the same state and the same documents",
    True,
)
_SHOWN = (SPLICED, GAP, VARIANCE, "probing.accuracy_k5", L0)
_COLUMNS = (*(column for metric in _SHOWN for column in COLUMNS if column.metric == metric), SAE_COST)


@dataclass(frozen=True)
class Contest:
    """An SAE that was made for a state, against the frozen one there."""

    record: Record
    frozen: Record
    won: Measurement
    matched: bool
    """Whether their L0 is close enough to compare."""


def contests(known: Sequence[State], unmatched: Collection[str]) -> list[Contest]:
    """Every SAE that was made for a state or out of another, where a frozen one is there to compare it with."""
    found = []
    for state in known:
        for record in state.records:
            frozen = None if is_random(record) or record in state.frozen else reference(record, state.records)
            if frozen is not None and (won := won_back(record, frozen)) is not None:
                found.append(Contest(record, frozen, won, record.cell_id not in unmatched))
    return found


def saes(
    known: Sequence[State], fought: Sequence[Contest], unmatched: Collection[str], definitions: Mapping[str, Definition]
) -> Grid | None:
    """The table of a comparable group; None where there is nothing but frozen and random SAEs."""
    if not fought:
        return None
    won = {contest.record.cell_id: cell_of(contest.won) for contest in fought}
    records = [record for state in known for record in state.records if not is_random(record)]
    columns = [column for column in _COLUMNS if not column.is_empty(records)]
    sites = len({record.spec.site for record in records}) > 1
    sections = []
    for state, cells in _rivals(known):
        figures = {column: _figures(column, cells, unmatched, direction(column, definitions)) for column in columns}
        sections.append(_section(state, cells, figures, won, sites))
    heads = [head(column, records, definitions) for column in columns]
    # Here ranks go by it, so it stays where room is short.
    heads[0] = heads[0]._replace(priority=1)
    names = (Header("compressor", False, 1, "compressor"), Header("SAE", False, 1, "sae"))
    return Grid(NAME, _TITLE, _EXPLANATION, (*names, RANK, heads[0], _WON, *heads[1:]), tuple(sections))


def _rivals(known: Sequence[State]) -> list[tuple[State, list[Record]]]:
    """The SAEs of each state and site, without the control; only where there are at least two."""
    found = []
    for state in known:
        by_site: dict[str, list[Record]] = defaultdict(list)
        for record in state.records:
            if not is_random(record):
                by_site[record.spec.site].append(record)
        found += [(state, sorted(by_site[site], key=_order)) for site in sorted(by_site) if len(by_site[site]) > 1]
    return found


def _order(record: Record) -> tuple[bool, int, str, str]:
    return *source_place(record), sae_title(record), record.cell_id


def _figures(column: Column, cells: Sequence[Record], unmatched: Collection[str], higher: bool | None) -> list[Cell]:
    found = [column.cell(record) for record in cells]
    found = among(found, [record.cell_id not in unmatched for record in cells], higher)
    return marked(found, cells, unmatched) if column.metric == L0 else found


def _section(
    state: State,
    cells: Sequence[Record],
    figures: Mapping[Column, Sequence[Cell]],
    won: Mapping[str, Cell],
    with_site: bool,
) -> tuple[Row, ...]:
    title: Callable[[Record], str] = (
        (lambda record: f"{sae_title(record)} at {printable(record.spec.site)}") if with_site else sae_title
    )
    rows = []
    for place, record in enumerate(cells):
        first, *others = (column[place] for column in figures.values())
        names = (Cell(state.name), Cell(title(record)), Cell(shown_rank(first), value=first.rank))
        rows.append(Row((*names, first, won.get(record.cell_id, Cell(NO_VALUE)), *others), (record.cell_id,)))
    return tuple(rows)
