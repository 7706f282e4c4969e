"""Size or latency against transfer gap and survival: which compressed states lie on the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .cells import Cell, Grid, Header, Row
from .columns import COMPRESSORS, GAP, INCREASE, SPEED, SURVIVED, Column, Definition, direction, head
from .figures import NO_VALUE
from .hardware import Machines
from .ranking import Point, front
from .states import State

NAME = "pareto"
_TITLE = "Pareto fronts"
_EXPLANATION = (
    "A state is on the front if no other is at least as good in both figures and better in one. Behind X: X is at "
    "least as good in both, and within the intervals if no state that is as good in the first is clearly better in "
    "the second."
)
_ON_FRONT, _WITHIN = "front", ", within the intervals"
_COSTS = (next(column for column in COMPRESSORS if column.title == "size"), *SPEED)
_VALUES = tuple(column for metric in (GAP, INCREASE, SURVIVED) for column in COMPRESSORS if column.metric == metric)


@dataclass(frozen=True)
class Front:
    """The states of a comparable group between two figures."""

    x: Header
    y: Header
    points: tuple[Point, ...]
    hardware: str | None = None
    """Where the cost was measured, if it depends on that."""


def fronts(
    known: Sequence[State],
    figures: Mapping[Column, Sequence[Cell]],
    machines: Machines,
    definitions: Mapping[str, Definition],
) -> tuple[Front, ...]:
    """All pairs of a cost and a quality that at least two compressed states have; costs of one hardware each."""
    found = []
    for cost in _COSTS:
        for quality in _VALUES:
            for machine in machines.keys if cost.is_cost else (None,):
                members = [
                    (state.name, figures[cost][place], figures[quality][place], _ids(state))
                    for place, state in enumerate(known)
                    if not state.is_dense
                    and figures[quality][place].rank is not None
                    and (machine is None or machines.usual(state.records)[0] == machine)
                ]
                lower = direction(cost, definitions), direction(quality, definitions)
                points = front(members, bool(lower[0]), bool(lower[1]))
                if len(points) > 1:
                    records = [record for state in known for record in state.records]
                    heads = (head(cost, records, definitions), head(quality, records, definitions))
                    found.append(Front(*heads, points, None if machine is None else machines.told(machine)))
    return tuple(found)


def pareto(found: Sequence[Front]) -> Grid | None:
    """The fronts as a table: one row a state, one column a pair of figures; None without fronts."""
    if not found:
        return None
    names = sorted({point.name for one in found for point in one.points})
    # Where all are on the front, being there is no distinction.
    contested = [not all(point.on_front for point in one.points) for one in found]
    places = [{point.name: point for point in one.points} for one in found]
    rows = []
    for name in names:
        points = [place.get(name) for place in places]
        ids = next(point.cell_ids for point in points if point is not None)
        cells = [_cell(point, told) for point, told in zip(points, contested, strict=True)]
        rows.append(Row((Cell(name), *cells), ids))
    rows.sort(key=lambda row: (-sum(cell.text == _ON_FRONT for cell in row.cells), row.cells[0].text))
    heads = (Header("compressor", False, 1, "compressor"), *map(_head, found))
    return Grid(NAME, _TITLE, _EXPLANATION, heads, (tuple(rows),))


def _cell(point: Point | None, contested: bool) -> Cell:
    if point is None:
        return Cell(NO_VALUE)
    if point.on_front:
        return Cell(_ON_FRONT, best=contested)
    return Cell(f"behind {point.behind}{'' if point.clearly else _WITHIN}", short="behind")


def _head(one: Front) -> Header:
    where = f", on {one.hardware}" if one.hardware else ""
    return Header(f"{one.x.text} against {one.y.text}{where}", False, 1, f"{one.x.key}__{one.y.key}")


def _ids(state: State) -> tuple[str, ...]:
    return tuple(record.cell_id for record in state.records)
