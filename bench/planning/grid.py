"""The grid of a suite: states and cells, and what identifies each, with every name looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...leaderboard.record import Labels, cell_id_of_json
from ...registry.compressors.method import Compressor
from ...registry.labelled import Labelled
from ...registry.models import Model
from ...registry.saes import lineage
from ...registry.saes.entry import SaeEntry
from ...registry.texts import Text
from ...registry.words import MOST_WORDS
from ...tasks.absorption import WORDS
from ...tasks.cost.task import Cost
from ...tasks.shelf import KINDS
from ...tasks.task import LabelledTask, Task
from .suite import Data, Suite

DENSE = "dense"
MICROWORLD = "microworld"


@dataclass(frozen=True)
class CellPlan:
    """One cell: an SAE on a state."""

    labels: Labels
    sae: SaeEntry
    prepend_bos: bool
    spec: dict[str, Any]
    """What the cell id is the hash of, as JSON values."""
    origin: SaeEntry | str
    """The frozen SAE whose latents this one's are; or why there is none."""
    counterpart: SaeEntry | str
    """The frozen SAE at the same site; or why there is none."""

    @cached_property
    def cell_id(self) -> str:
        """Hash of the spec."""
        return cell_id_of_json(self.spec)

    @property
    def path(self) -> str:
        """`model/compressor/sae`, what `--only` matches."""
        return f"{self.labels.model}/{self.labels.compressor}/{self.labels.sae}"


@dataclass(frozen=True)
class StatePlan:
    """One state and its cells: a job."""

    model: Model
    compressor: Compressor
    cells: tuple[CellPlan, ...]

    @property
    def name(self) -> str:
        """`model/compressor`."""
        return f"{self.model.name}/{self.compressor.name}"

    @property
    def is_dense(self) -> bool:
        """Whether this is the state that the others are compared with."""
        return not self.compressor.steps


@dataclass(frozen=True)
class Plan:
    """A suite with every name looked up. The dense state of a model comes before its other states."""

    suite: Suite
    evaluation: Text
    calibration: Text
    training: Text
    labelled: tuple[Labelled, ...]
    """Labelled texts that some task looks at."""
    tasks: tuple[Task, ...]
    """Those that measure quality."""
    cost: Cost | None
    """What measures costs, where the suite asks for them; they change no quality, so they enter no cell id."""
    states: tuple[StatePlan, ...]

    @property
    def compares_features(self) -> bool:
        """Whether a task compares latents with those of the dense state."""
        return any(KINDS[task.name].compares for task in self.tasks)

    @property
    def is_of_microworld(self) -> bool:
        """Whether it is about the microworld, whose words are asked for as its stories do."""
        return self.evaluation.name == MICROWORLD

    @property
    def labelled_tasks(self) -> list[LabelledTask]:
        """Tasks that look at labelled examples."""
        return [task for task in self.tasks if isinstance(task, LabelledTask)]

    @property
    def cells(self) -> list[CellPlan]:
        """All cells, state by state."""
        return [cell for state in self.states for cell in state.cells]

    @cached_property
    def _dense(self) -> Mapping[str, StatePlan]:
        return {state.model.name: state for state in self.states if state.is_dense}

    @property
    def dense_states(self) -> list[StatePlan]:
        """The dense state of every model."""
        return list(self._dense.values())

    def dense_of(self, state: StatePlan) -> StatePlan:
        """The dense state of that state's model."""
        return self._dense[state.model.name]

    def sae_identity(self, entry: SaeEntry, prepend_bos: bool) -> dict[str, Any]:
        """What identifies an SAE on a given state: its entry, and the texts that made it."""
        used = [ancestor for ancestor in lineage.ancestors(entry) if ancestor.on is not None]
        identity = entry.identity()
        cut = {"context": self.suite.data.context, "bos": prepend_bos}
        if any(ancestor.reads == "training" for ancestor in used):
            identity["training"] = {**self.training.identity("training"), **cut}
        if any(ancestor.reads == "calibration" for ancestor in used):
            identity["calibration"] = {**self.calibration.identity("calibration"), **cut}
        return identity

    def counterpart_identity(self, counterpart: SaeEntry | str, prepend_bos: bool) -> dict[str, Any]:
        """What a cell's figures depend on beside its own SAE, where a task compares dictionaries."""
        if isinstance(counterpart, str) or not self.compares_features:
            return {}
        return {"counterpart": self.sae_identity(counterpart, prepend_bos)}

    def compared_with(self, cell: CellPlan) -> list[SaeEntry]:
        """The SAEs that the tasks need beside that of a cell."""
        both = (cell.origin, cell.counterpart) if self.compares_features else ()
        return [entry for entry in both if not isinstance(entry, str)]

    def task_identity(self, task: Task) -> dict[str, Any]:
        """What identifies a task on an SAE: version, settings, and what it looks at beside the evaluation text."""
        identity: dict[str, Any] = {"version": task.version, **task.params}
        if isinstance(task, LabelledTask):
            identity["sets"] = {text.name: text.identity for text in self.labelled if text.name in task.sets}
            if WORDS in task.sets:
                identity["sets"][WORDS] = {"most": MOST_WORDS, "microworld": self.is_of_microworld}
        return identity

    def calibration_identity(self, prepend_bos: bool) -> dict[str, Any]:
        """What identifies the sequences that compressors see."""
        settings = self.suite.data.calibration
        context = settings.context or self.suite.data.context
        identity = self.calibration.identity("calibration")
        drawn = {"sequences": settings.sequences, "context": context, "bos": prepend_bos, "seed": settings.seed}
        return {**identity, **drawn, "propagation": settings.propagation}


def calibration_bos(data: Data) -> bool:
    """Whether the sequences that compressors see begin with BOS: they do unless the suite says otherwise."""
    return True if data.prepend_bos is None else data.prepend_bos
