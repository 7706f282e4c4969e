"""The cells of a model: what they have in common is worked out once, so that a large grid costs little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python

from ...leaderboard.record import Labels
from ...registry.compressors.method import Compressor
from ...registry.models import Model
from ...registry.saes import lineage
from ...registry.saes.entry import SaeEntry
from .grid import CellPlan, Plan, StatePlan, calibration_bos


@dataclass(frozen=True)
class _Column:
    """What the cells of one SAE have in common on all states of a model."""

    entry: SaeEntry
    prepend_bos: bool
    spec: dict[str, Any]
    """The part of each cell's spec that the state does not change."""
    origin: SaeEntry | str
    counterpart: SaeEntry | str


def states_of(plan: Plan, model: Model, compressors: Sequence[Compressor], saes: Sequence[SaeEntry]) -> list[StatePlan]:
    """The states of a model, each with a cell for every SAE.

    Args:
        plan: the suite's, as yet without states.
    """
    columns = _columns(plan, model, saes)
    states: list[StatePlan] = []
    for compressor in compressors:
        row = _row(plan, compressor)
        cells = tuple(_cell(plan, model.name, compressor.name, row, column) for column in columns)
        states.append(StatePlan(model, compressor, cells))
    return states


def _row(plan: Plan, compressor: Compressor) -> dict[str, Any]:
    """The part of each cell's spec that the SAE does not change."""
    calibration = plan.calibration_identity(calibration_bos(plan.suite.data)) if compressor.needs_calibration else None
    return {"compressor": to_jsonable_python(compressor.identity), "calibration": to_jsonable_python(calibration)}


def _columns(plan: Plan, model: Model, saes: Sequence[SaeEntry]) -> list[_Column]:
    data = plan.suite.data
    tasks = {task.name: plan.task_identity(task) for task in plan.tasks}
    columns: list[_Column] = []
    for entry in saes:
        bos = entry.prepend_bos if data.prepend_bos is None else data.prepend_bos
        counterpart = lineage.counterpart(entry, saes)
        text = {"text": plan.evaluation.identity("evaluation"), "tokens": data.tokens, "context": data.context}
        spec = {
            "model": model.identity,
            "sae": plan.sae_identity(entry, bos) | plan.counterpart_identity(counterpart, bos),
            "site": entry.site.name,
            "data": {**text, "bos": bos},
            "tasks": tasks,
            "seed": plan.suite.seed,
        }
        columns.append(_Column(entry, bos, to_jsonable_python(spec), lineage.origin(entry), counterpart))
    return columns


def _cell(plan: Plan, model: str, compressor: str, row: dict[str, Any], column: _Column) -> CellPlan:
    labels = Labels(
        suite=plan.suite.name,
        model=model,
        compressor=compressor,
        sae=column.entry.name,
        sae_source=column.entry.source,
        text=plan.evaluation.name,
    )
    spec = {**column.spec, **row}
    return CellPlan(labels, column.entry, column.prepend_bos, spec, column.origin, column.counterpart)
