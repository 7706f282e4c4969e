"""What a plan still needs: cells without a record, and what they need of their dense state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ...leaderboard import store
from ...leaderboard.errors import RecordError
from ...leaderboard.record import Record
from ...registry.saes import lineage
from ...tasks.perplexity import NO_DENSE
from ..planning.plan import CellPlan, Plan
from .artifacts import Artifacts
from .known_costs import lacks_costs
from .stock import Stock

Rerun = Literal["missing", "failed", "all"]

GAP = "perplexity.transfer_gap"
"""The metric that compares a cell with its dense cell."""


@dataclass(frozen=True)
class Preparation:
    """What other states of a model need of its dense state, and the cache does not hold."""

    saes: set[str] = field(default_factory=set)
    """SAEs to be made."""
    conventions: set[bool] = field(default_factory=set)
    """BOS conventions under which the text has to be read."""


@dataclass(frozen=True)
class Todo:
    """What a plan still needs."""

    cells: dict[str, list[CellPlan]]
    """Cells to measure, by state; a state with nothing to do is absent."""
    prepare: dict[str, Preparation]
    """What dense states have to do for others, by state."""
    done: int
    """Cells whose record is there already."""

    @property
    def n_cells(self) -> int:
        """How many cells there are to measure."""
        return sum(len(cells) for cells in self.cells.values())


def record_of(cell: CellPlan, out: Path) -> Record | None:
    """The record of a cell, if there is a readable one."""
    path = store.cell_path(out, cell.labels, cell.cell_id)
    if not path.exists():
        return None
    try:
        return store.read(path)
    except RecordError:
        return None


def todo(plan: Plan, out: Path, cache: Path, device: str, rerun: Rerun) -> Todo:
    """What is missing: cells without a record, and what they need of their dense state."""
    missing: dict[str, list[CellPlan]] = {}
    done = 0
    for state in plan.states:
        dense = {cell.labels.sae: record_of(cell, out) for cell in plan.dense_of(state).cells}
        for cell in state.cells:
            record = record_of(cell, out)
            compared = dense[cell.labels.sae]
            comparable = _is_wanted(compared, rerun) or (compared is not None and compared.status == "ok")
            incomplete = lacks_costs(plan, record) or (comparable and _lacks_comparison(record))
            if _is_wanted(record, rerun) or incomplete:
                missing.setdefault(state.name, []).append(cell)
            else:
                done += 1
    return Todo(missing, _preparations(plan, missing, Artifacts(cache), device), done)


def _is_wanted(record: Record | None, rerun: Rerun) -> bool:
    return rerun == "all" or record is None or (rerun == "failed" and record.status != "ok")


def _lacks_comparison(record: Record | None) -> bool:
    """Whether a cell was measured when its dense cell had no figures."""
    gap = None if record is None else record.metrics.get(GAP)
    return gap is not None and gap.value is None and gap.reason == NO_DENSE


def _preparations(
    plan: Plan, missing: dict[str, list[CellPlan]], artifacts: Artifacts, device: str
) -> dict[str, Preparation]:
    prepare: dict[str, Preparation] = {}
    for state in plan.states:
        if state.is_dense or state.name not in missing:
            continue
        stock = Stock(plan, state, artifacts, device)
        saes = {name for cell in missing[state.name] for name in _saes_needed(plan, stock, cell)}
        wanted = {cell.prepend_bos for cell in missing[state.name]}
        conventions = {bos for bos in wanted if not stock.has_reference(bos)}
        if saes or conventions:
            needed = prepare.setdefault(plan.dense_of(state).name, Preparation())
            needed.saes.update(saes)
            needed.conventions.update(conventions)
    return prepare


def _saes_needed(plan: Plan, stock: Stock, cell: CellPlan) -> Iterator[str]:
    """SAEs that the dense state has to make, or to fit tasks with, before a cell of another state can be measured."""
    bos, origin, other = cell.prepend_bos, cell.origin, cell.counterpart
    used = lineage.ancestors(cell.sae)
    if plan.compares_features and not isinstance(other, str):
        used += lineage.ancestors(other)
    yield from (entry.name for entry in used if entry.on == "dense" and not stock.has_sae(entry, bos))
    if not isinstance(origin, str) and not all(stock.has_fit(task, origin, bos) for task in plan.labelled_tasks):
        yield origin.name
