"""Ranks that never claim more than the intervals do, and what lies on a Pareto front.

Rank = 1 + the number of rivals whose interval lies wholly on the better side of mine. Figures whose intervals overlap
can share a rank, and are told to be tied. A figure without an interval is a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .cells import Cell
from .figures import NO_VALUE


@dataclass(frozen=True)
class Point:
    """One state between two figures."""

    name: str
    x: Cell
    y: Cell
    on_front: bool
    """No rival is at least as good in both figures and better in one."""
    behind: str | None = None
    """The rival that is at least as good in both: of several, the one with the best y."""
    clearly: bool = False
    """Whether some rival that is no worse in x is better in y by more than the intervals."""
    cell_ids: tuple[str, ...] = ()


def ranked(cells: Sequence[Cell], higher_is_better: bool | None) -> list[Cell]:
    """Rivals with their ranks; those without a value, or of a figure without direction, get none."""
    if higher_is_better is None:
        return list(cells)
    ranks = [rank_of(cell, cells, higher_is_better) for cell in cells]
    known = [rank for rank in ranks if rank is not None]
    contested = len(known) > 1 and max(known) > 1
    return [
        cell._replace(rank=rank, tied=known.count(rank) > 1, best=contested and rank == 1) if rank is not None else cell
        for cell, rank in zip(cells, ranks, strict=True)
    ]


def among(cells: Sequence[Cell], competes: Sequence[bool], higher_is_better: bool | None) -> list[Cell]:
    """The cells of a column with the ranks of those that compete; the others stay as they are."""
    rivals = iter(
        ranked([cell for cell, takes_part in zip(cells, competes, strict=True) if takes_part], higher_is_better)
    )
    return [next(rivals) if takes_part else cell for cell, takes_part in zip(cells, competes, strict=True)]


def rank_of(cell: Cell, rivals: Sequence[Cell], higher_is_better: bool) -> int | None:
    """1 + the number of rivals wholly better; None without a value."""
    if cell.value is None:
        return None
    return 1 + sum(wholly_better(rival, cell, higher_is_better) for rival in rivals)


def wholly_better(first: Cell, second: Cell, higher_is_better: bool) -> bool:
    """Whether the first interval lies wholly on the better side of the second."""
    if first.value is None or second.value is None:
        return False
    (low, high), (other_low, other_high) = bounds(first), bounds(second)
    return low > other_high if higher_is_better else high < other_low


def bounds(cell: Cell) -> tuple[float, float]:
    """The interval of a cell that has a value; a point where it has none."""
    if cell.interval is not None:
        return cell.interval
    value = cell.value or 0.0
    return value, value


def shown_rank(cell: Cell) -> str:
    """`3`, or `1 =` where rivals share the rank; a dash for what does not compete."""
    if cell.rank is None:
        return NO_VALUE
    return f"{cell.rank} =" if cell.tied else str(cell.rank)


def front(
    named: Sequence[tuple[str, Cell, Cell, tuple[str, ...]]], higher_x_is_better: bool, higher_y_is_better: bool
) -> tuple[Point, ...]:
    """Which of some states lie on the Pareto front of two figures; those that lack one of them are left out.

    Args:
        named: name, figure x, figure y and records of each state.
        higher_x_is_better: the direction of x.
        higher_y_is_better: the direction of y.
    """
    known = [one for one in named if one[1].value is not None and one[2].value is not None]
    return tuple(_point(one, known, higher_x_is_better, higher_y_is_better) for one in known)


def _point(
    own: tuple[str, Cell, Cell, tuple[str, ...]],
    rivals: Sequence[tuple[str, Cell, Cell, tuple[str, ...]]],
    higher_x: bool,
    higher_y: bool,
) -> Point:
    name, x, y, cell_ids = own
    mine = (_signed(x, higher_x), _signed(y, higher_y))
    no_worse_in_x = [rival for rival in rivals if _signed(rival[1], higher_x) >= mine[0]]
    ahead = [
        rival
        for rival in no_worse_in_x
        if _signed(rival[2], higher_y) >= mine[1] and (_signed(rival[1], higher_x), _signed(rival[2], higher_y)) != mine
    ]
    nearest = max(ahead, key=lambda rival: (_signed(rival[2], higher_y), rival[0]), default=None)
    clearly = any(wholly_better(rival[2], y, higher_y) for rival in no_worse_in_x)
    return Point(name, x, y, nearest is None, None if nearest is None else nearest[0], clearly, cell_ids)


def _signed(cell: Cell, higher_is_better: bool) -> float:
    """The figure, turned so that more is better."""
    value = cell.value or 0.0
    return value if higher_is_better else -value
