"""What a plan still needs: cells without a record, and what they need of their dense state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...leaderboard import store
from ...leaderboard.errors import RecordError
from ...leaderboard.record import Record
from ...tasks.perplexity import NO_DENSE
from ..commands.run_options import Rerun
from ..planning.grid import CellPlan, Plan
from .artifacts import Artifacts
from .known_costs import lacks_costs
from .preparation import Preparation, preparations

GAP = "perplexity.transfer_gap"
"""The metric that compares a cell with its dense cell."""


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
    if not (out / store.CELLS_FOLDER).is_dir():  # spares a large grid as many looks at the disk as it has cells
        missing = {state.name: list(state.cells) for state in plan.states}
        return Todo(missing, preparations(plan, missing, Artifacts(cache), device), 0)
    missing: dict[str, list[CellPlan]] = {}
    done = 0
    dense: dict[str, Record | None] = {}
    for state in plan.states:
        if state.is_dense:
            dense = {}
        for cell in state.cells:
            record = record_of(cell, out)
            compared = dense.setdefault(cell.labels.sae, record)
            comparable = _is_wanted(compared, rerun) or (compared is not None and compared.status == "ok")
            incomplete = lacks_costs(plan, record) or (comparable and _lacks_comparison(record))
            if _is_wanted(record, rerun) or incomplete:
                missing.setdefault(state.name, []).append(cell)
            else:
                done += 1
    return Todo(missing, preparations(plan, missing, Artifacts(cache), device), done)


def _is_wanted(record: Record | None, rerun: Rerun) -> bool:
    return rerun == "all" or record is None or (rerun == "failed" and record.status != "ok")


def _lacks_comparison(record: Record | None) -> bool:
    """Whether a cell was measured when its dense cell had no figures."""
    gap = None if record is None else record.metrics.get(GAP)
    return gap is not None and gap.value is None and gap.reason == NO_DENSE
