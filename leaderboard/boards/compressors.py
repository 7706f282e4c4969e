"""The board of compressors: what each state costs in cross-entropy, features and probes, against size and speed.

Figures of SAEs are means over the frozen ones. What depends on the hardware is ranked among states of one hardware.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from ..text import printable
from .averages import over_frozen, shared
from .cells import Cell, Grid, Header, Row
from .columns import COMPRESSORS, GAP, INCREASE, Column, Definition, direction, head
from .figures import NO_VALUE
from .hardware import Machines
from .notes import ending
from .ranking import among, shown_rank
from .states import State, sae_title

NAME = "compressors"
_TITLE = "What each compressor costs"
_EXPLANATION = "Figures of SAEs are means over the frozen ones: {}. Ranks and best figures are among compressed states."
_NO_FROZEN = "There is no frozen SAE among these records, so only figures of the model itself are known."
RANK = Header(
    "rank",
    True,
    1,
    "rank",
    "1 + the number of rivals whose interval lies wholly below this one's, by transfer gap for compressors and by "
    "splice CE increase for SAEs; = where rivals share a rank",
)
_CELLS = Header("cells", False, 3, "cells", "how the cells of all SAEs on this state ended")


def compressors(known: Sequence[State], machines: Machines, definitions: Mapping[str, Definition]) -> Grid | None:
    """The table of a comparable group; None where no state is compressed."""
    if all(state.is_dense for state in known):
        return None
    figures = figures_of(known, machines, definitions)
    columns = [column for column, cells in figures.items() if any(cell.text != NO_VALUE for cell in cells)]
    primary = next((figures[column] for column in columns if column.metric == GAP), None) or next(
        (figures[column] for column in columns if column.metric == INCREASE), [Cell(NO_VALUE)] * len(known)
    )
    rows = [
        (_order(state, primary[place]), _row(state, primary[place], [figures[column][place] for column in columns]))
        for place, state in enumerate(known)
    ]
    records = [record for state in known for record in state.records]
    return Grid(
        NAME,
        _TITLE,
        _explanation(known),
        (
            RANK,
            Header("compressor", False, 1, "compressor"),
            *(head(column, records, definitions) for column in columns),
            _CELLS,
        ),
        (tuple(row for _, row in sorted(rows, key=lambda item: item[0])),),
    )


def figures_of(
    known: Sequence[State], machines: Machines, definitions: Mapping[str, Definition]
) -> dict[Column, list[Cell]]:
    """Each column's figures, one a state, with ranks among the compressed states."""
    return {column: _column(column, known, machines, direction(column, definitions)) for column in COMPRESSORS}


def _column(column: Column, known: Sequence[State], machines: Machines, higher: bool | None) -> list[Cell]:
    if column.is_cost:
        return _costs(column, known, machines, higher)
    if column.of_state:
        cells = [shared(column, state.records) for state in known]
        competes = [not state.is_dense for state in known]
    else:
        found = over_frozen(column, known)
        cells = [one.cell for one in found]
        competes = [one.complete and not state.is_dense for one, state in zip(found, known, strict=True)]
    return among(cells, competes, higher)


def _costs(column: Column, known: Sequence[State], machines: Machines, higher: bool | None) -> list[Cell]:
    """Costs under the most usual conditions of each state, ranked among states of the same conditions."""
    usual = [machines.usual(state.records) for state in known]
    cells = [machines.marked(shared(column, records), key) for key, records in usual]
    for conditions in machines.keys:
        competes = [key == conditions and not state.is_dense for (key, _), state in zip(usual, known, strict=True)]
        cells = among(cells, competes, higher)
    return cells


def _row(state: State, primary: Cell, figures: Iterable[Cell]) -> Row:
    rank = Cell(shown_rank(primary), value=primary.rank)
    cells = (rank, Cell(state.name), *figures, ending(state.records))
    return Row(cells, tuple(record.cell_id for record in state.records))


def _order(state: State, primary: Cell) -> tuple[bool, float, float, str]:
    """Dense first, then by rank and value; states without the figure last."""
    rank = math.inf if primary.rank is None else float(primary.rank)
    value = math.inf if primary.value is None else primary.value
    return not state.is_dense, rank, value, state.name


def _explanation(known: Sequence[State]) -> str:
    cells = [record for state in known for record in state.frozen]
    frozen = sorted({f"{sae_title(record)} at {printable(record.spec.site)}" for record in cells})
    return _EXPLANATION.format(", ".join(frozen)) if frozen else _NO_FROZEN
