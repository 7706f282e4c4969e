"""What the artifact cache holds for one state: asked while planning, before anything heavy is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from ...registry.saes.entry import SaeEntry
from ...registry.sites import Site
from ...tasks.task import LabelledTask
from ..planning.grid import Plan, StatePlan
from .artifact_keys import HIDDEN, ArtifactKeys, sae_key
from .artifacts import Artifacts


@dataclass(frozen=True)
class Stock:
    """Answers for one state, under either BOS convention."""

    plan: Plan
    state: StatePlan
    artifacts: Artifacts
    device: str

    @property
    def keys(self) -> ArtifactKeys:
        """Under which things lie in the cache."""
        return ArtifactKeys(self.plan, self.state, self.device)

    def has_sae(self, entry: SaeEntry, bos: bool) -> bool:
        """Whether an SAE needs no more work than loading, itself and what it is made from."""
        here = entry.on is None or self.artifacts.find(sae_key(self.plan, self.state, entry, bos)) is not None
        return here and (entry.base is None or self.has_sae(entry.base, bos))

    def has_fit(self, task: LabelledTask, entry: SaeEntry, bos: bool) -> bool:
        """Whether a task's fit with a frozen SAE is kept."""
        return self.artifacts.find(self.keys.fit(task, entry, bos)) is not None

    def has_reference(self, bos: bool) -> bool:
        """Whether the dense model need not be run for other states."""
        names = [HIDDEN, *(site.name for site in self.compared_sites(bos))]
        return all(self.artifacts.find(self.keys.reading(name, bos)) is not None for name in names) and all(
            self.has_fit(task, entry, bos) for task in self.plan.labelled_tasks for entry in self.fitted_origins(bos)
        )

    def compared_sites(self, bos: bool) -> list[Site]:
        """Where the activations of the dense state are needed."""
        if not self.plan.compares_features:
            return []
        return sorted({cell.sae.site for cell in self.state.cells if cell.prepend_bos == bos})

    def fitted_origins(self, bos: bool) -> list[SaeEntry]:
        """Frozen SAEs with which labelled tasks are fitted on the dense state."""
        if not self.plan.labelled_tasks:
            return []
        origins = (cell.origin for cell in self.state.cells if cell.prepend_bos == bos)
        return list({origin.name: origin for origin in origins if not isinstance(origin, str)}.values())
