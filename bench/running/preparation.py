"""What the dense state of a model has to do for the cells of its other states, before they can be measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...registry.saes import lineage
from ..planning.grid import CellPlan, Plan, StatePlan
from .artifacts import Artifacts
from .stock import Stock


@dataclass(frozen=True)
class Preparation:
    """What other states of a model need of its dense state, and the cache does not hold."""

    saes: set[str] = field(default_factory=set)
    """SAEs to be made."""
    conventions: set[bool] = field(default_factory=set)
    """BOS conventions under which the text has to be read."""


def preparations(
    plan: Plan, missing: Mapping[str, Sequence[CellPlan]], artifacts: Artifacts, device: str
) -> dict[str, Preparation]:
    """What dense states have to prepare, by state.

    Args:
        missing: cells to measure, by state.
    """
    needs = {state.model.name: _Needs(plan, Stock(plan, state, artifacts, device)) for state in plan.dense_states}
    prepare: dict[str, Preparation] = {}
    for state in plan.states:
        if state.is_dense or state.name not in missing:
            continue
        need = needs[state.model.name]
        saes = {name for cell in missing[state.name] for name in need.saes(cell)}
        wanted = {cell.prepend_bos for cell in missing[state.name]}
        conventions = {bos for bos in wanted if need.reading(state, bos)}
        if saes or conventions:
            needed = prepare.setdefault(plan.dense_of(state).name, Preparation())
            needed.saes.update(saes)
            needed.conventions.update(conventions)
    return prepare


class _Needs:
    """Asks the cache each question once, however many states of the model have the same cells."""

    def __init__(self, plan: Plan, dense: Stock) -> None:
        self._plan = plan
        self._dense = dense
        self._saes: dict[str, frozenset[str]] = {}
        self._readings: dict[tuple[bool, tuple[str, ...]], bool] = {}

    def saes(self, cell: CellPlan) -> frozenset[str]:
        """SAEs that the dense state has to make, or to fit tasks with, before a cell can be measured."""
        name = cell.labels.sae
        if name not in self._saes:
            self._saes[name] = frozenset(self._missing_saes(cell))
        return self._saes[name]

    def reading(self, state: StatePlan, bos: bool) -> bool:
        """Whether the dense model has to be run over the text for a state."""
        key = bos, tuple(cell.labels.sae for cell in state.cells)
        if key not in self._readings:
            own = Stock(self._plan, state, self._dense.artifacts, self._dense.device)
            self._readings[key] = not own.has_reference(bos)
        return self._readings[key]

    def _missing_saes(self, cell: CellPlan) -> Iterable[str]:
        plan, dense, bos = self._plan, self._dense, cell.prepend_bos
        used = lineage.ancestors(cell.sae)
        if plan.compares_features and not isinstance(cell.counterpart, str):
            used += lineage.ancestors(cell.counterpart)
        yield from (entry.name for entry in used if entry.on == "dense" and not dense.has_sae(entry, bos))
        origin = cell.origin
        if not isinstance(origin, str) and not all(dense.has_fit(task, origin, bos) for task in plan.labelled_tasks):
            yield origin.name
