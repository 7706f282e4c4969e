"""Keys of the artifacts of a state: what each was made of, and by what.

Nothing heavy is needed to write them down, so that a plan can tell what is there before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ...registry.saes import lineage
from ...registry.saes.entry import SaeEntry
from ...tasks.task import LabelledTask
from ..planning.grid import CellPlan, Plan, StatePlan, calibration_bos

HIDDEN = "hidden"
"""Name of the final hidden states (after the last norm) among the arrays of a reading."""
_RECIPE = 2
"""Raised when what is kept beside an SAE changes."""


def sae_key(plan: Plan, state: StatePlan, entry: SaeEntry, bos: bool) -> dict[str, Any]:
    """Key of an SAE that is made: its own identity, the model, and the state where it depends on that."""
    compressor: dict[str, Any] = {"steps": [], "calibration": None}
    if entry.depends_on_state and not state.is_dense:
        seen = plan.calibration_identity(calibration_bos(plan.suite.data))
        compressor = {
            "steps": state.compressor.identity,
            "calibration": seen if state.compressor.needs_calibration else None,
        }
    return {
        "kind": "sae",
        "recipe": _RECIPE,
        "model": state.model.identity,
        "compressor": compressor,
        "sae": plan.sae_identity(entry, bos),
    }


@dataclass(frozen=True)
class ArtifactKeys:
    """Writes the keys of what a state on a device leaves or uses."""

    plan: Plan
    state: StatePlan
    device: str

    def reading(self, array: str, bos: bool) -> dict[str, Any]:
        """Key of an array of the dense state: what was run on what, and by what, since last digits differ."""
        data = self.plan.suite.data
        text = {"text": self.plan.evaluation.identity("evaluation"), "tokens": data.tokens}
        return {"kind": "reading", "array": array, **self._conditions(bos), "data": text}

    def fit(self, task: LabelledTask, entry: SaeEntry, bos: bool) -> dict[str, Any]:
        """Key of what a labelled task has fitted on the dense state with a frozen SAE."""
        sae = self.plan.sae_identity(entry, bos)
        identity = self.plan.task_identity(task)
        return {"kind": "fit", "sae": sae, "task": {"name": task.name, **identity}, **self._conditions(bos)}

    def of(self, cells: Sequence[CellPlan]) -> Iterator[dict[str, Any]]:
        """All that the measuring of some cells, of this state or of those compared with it, may use or make."""
        for cell in cells:
            bos = cell.prepend_bos
            for entry in (cell.sae, *self.plan.compared_with(cell)):
                used = [one for one in lineage.ancestors(entry) if one.on is not None]
                yield from (sae_key(self.plan, self.state, one, bos) for one in used)
            yield self.reading(HIDDEN, bos)
            if self.plan.compares_features:
                yield self.reading(cell.sae.site.name, bos)
            if not isinstance(cell.origin, str):
                yield from (self.fit(task, cell.origin, bos) for task in self.plan.labelled_tasks)

    def _conditions(self, bos: bool) -> dict[str, Any]:
        return {
            "model": self.state.model.identity,
            "context": self.plan.suite.data.context,
            "bos": bos,
            "torch": version("torch"),
            "device": self.device.partition(":")[0],
        }
