"""A part of a plan: what `--only` asks for."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

from .grid import CellPlan, Plan, StatePlan


def select(plan: Plan, pattern: str) -> Plan:
    """The plan with only the cells whose `model/compressor/sae` matches, and the dense cells they are compared with.

    Args:
        pattern: a shell pattern (`*/wanda-*/*`); without a slash it may match any one of the three names.
    """
    chosen = {cell.path for cell in plan.cells if _matches(cell, pattern)}
    compared = {(cell.labels.model, cell.labels.sae) for cell in plan.cells if cell.path in chosen}

    def kept(state: StatePlan, cell: CellPlan) -> bool:
        return cell.path in chosen or (state.is_dense and (cell.labels.model, cell.labels.sae) in compared)

    states = (replace(state, cells=tuple(cell for cell in state.cells if kept(state, cell))) for state in plan.states)
    return replace(plan, states=tuple(state for state in states if state.cells))


def _matches(cell: CellPlan, pattern: str) -> bool:
    if "/" in pattern:
        return fnmatchcase(cell.path, pattern)
    return any(fnmatchcase(name, pattern) for name in cell.path.split("/"))
