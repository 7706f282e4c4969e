"""All tasks on the cells of one state that share a BOS convention: what they have in common is computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from transformers import PreTrainedModel

from ...registry.saes.build import Built
from ...registry.saes.entry import SaeEntry
from ...registry.saes.splicing import spliced
from ...registry.sites import Site
from ...registry.windows import special_ids
from ...tasks.examples import Examples
from ...tasks.task import Fitted, LabelledTask, ModelTask, Sums, TextTask
from ..planning.grid import CellPlan, Plan, StatePlan
from ..running.profiling import Stopwatch
from ..running.supply import Supply
from .dense_reference import DenseReference
from .measure import Named, Subject, measure
from .pooling import Reader, pool
from .reading import Reading

Counted = dict[str, dict[str, Sums]]
"""SAE -> task -> sums."""


@dataclass(frozen=True)
class Scene:
    """A state under one BOS convention, with its text read."""

    plan: Plan
    state: StatePlan
    supply: Supply
    bos: bool
    model: PreTrainedModel
    reading: Reading
    folder: Path
    """For what is kept on disk for the time of the job."""
    saes: Mapping[str, Built]
    """SAEs of the cells, and those that they are compared with."""
    places: Mapping[str, Site]
    """Where the site of each SAE is in the state."""
    watch: Stopwatch
    progress: Callable[[float], None]

    @cached_property
    def reference(self) -> DenseReference:
        """What the dense state has left, or leaves."""
        return self.supply.dense_reference(self.bos)


def count(scene: Scene, cells: Sequence[CellPlan], with_fits: Callable[[], Sequence[CellPlan]]) -> Counted:
    """The sums of every task on every cell; on the dense state also what other states need of it.

    What waits and what is waited for meet as late as they can: the dense state does labelled tasks first, whose fits
    the others need, and these do them last.

    Args:
        with_fits: waits for the fits of the dense state; gives those of the cells for which they are there.
    """
    counted: Counted = {cell.labels.sae: {} for cell in cells}
    kinds = (_labelled_tasks, _text_tasks) if scene.state.is_dense else (_text_tasks, _labelled_tasks)
    for kind in (*kinds, _model_tasks):
        if kind is _labelled_tasks and scene.plan.labelled_tasks:
            cells = with_fits()
        for name, sums in kind(scene, cells).items():
            counted[name] |= sums
    return counted


def _text_tasks(scene: Scene, cells: Sequence[CellPlan]) -> Counted:
    tasks = [task for task in scene.plan.tasks if isinstance(task, TextTask)]
    if not cells or not tasks:
        return {}

    def named(entry: SaeEntry | str) -> Named | str:
        """The SAE that one is compared with, if any task does so."""
        if isinstance(entry, str) or not scene.plan.compares_features:
            return str(entry)
        return Named(entry.name, scene.saes[entry.name].sae)

    with scene.watch.phase("measure"):
        dense = None if scene.state.is_dense else scene.reference.reading(scene.reading.windows)
        subjects = [
            Subject(
                cell.labels.sae,
                scene.places[cell.labels.sae],
                scene.saes[cell.labels.sae].sae,
                dense_site=cell.sae.site,
                origin=named(cell.origin),
                counterpart=named(cell.counterpart),
            )
            for cell in cells
        ]
        return measure(scene.model, scene.reading, dense, subjects, tasks, scene.progress)


def _labelled_tasks(scene: Scene, cells: Sequence[CellPlan]) -> Counted:
    tasks, reference = scene.plan.labelled_tasks, scene.reference
    readers = {
        cell.labels.sae: Reader(
            cell.labels.sae, scene.places[cell.labels.sae], scene.saes[cell.labels.sae].sae, _full_width(cell)
        )
        for cell in cells
    }
    origins = [entry for entry in reference.origins if scene.state.is_dense and entry.name in scene.saes]
    for entry in origins:
        if entry.name not in readers and not all(reference.has_fit(task, entry) for task in tasks):
            readers[entry.name] = Reader(entry.name, entry.site, scene.saes[entry.name].sae, entry.d_sae)
    if not tasks or not readers:
        return {}
    with scene.watch.phase("examples"):
        texts = scene.supply.examples(scene.bos)
        pooled = pool(scene.model, texts, list(readers.values()), scene.folder, scene.progress)
    counted: Counted = {cell.labels.sae: {} for cell in cells}
    for task in tasks:
        with scene.watch.phase(task.name):
            for entry in origins:
                if not reference.has_fit(task, entry):
                    reference.keep_fit(task, entry, pooled[entry.name])
            for done, cell in enumerate(cells, start=1):
                counted[cell.labels.sae][task.name] = _count_labelled(scene, task, cell, pooled[cell.labels.sae])
                scene.progress(done / len(cells))
    return counted


def _count_labelled(scene: Scene, task: LabelledTask, cell: CellPlan, examples: Mapping[str, Examples]) -> Sums:
    if isinstance(cell.origin, str):
        return task.count(examples, task.fit(examples), cell.origin)
    dense: Fitted = scene.reference.kept_fit(task, cell.origin)
    is_reference = scene.state.is_dense and cell.origin == cell.sae
    return task.count(examples, dense if is_reference else task.fit(examples), dense)


def _model_tasks(scene: Scene, cells: Sequence[CellPlan]) -> Counted:
    counted: Counted = {cell.labels.sae: {} for cell in cells}
    tokenizer = scene.supply.tokenizer
    special = special_ids(tokenizer)
    for task in (task for task in scene.plan.tasks if isinstance(task, ModelTask) and cells):
        with scene.watch.phase(task.name):
            plain = task.run(scene.model, tokenizer)
            for done, cell in enumerate(cells, start=1):
                name = cell.labels.sae
                inside = partial(spliced, scene.model, scene.places[name], scene.saes[name].sae, special)
                counted[name][task.name] = task.count(scene.model, tokenizer, inside, plain)
                scene.progress(done / len(cells))
    return counted


def _full_width(cell: CellPlan) -> int:
    """Latents of the SAE that a cell's comes from: what was taken out of it counts as silent."""
    return cell.sae.d_sae if isinstance(cell.origin, str) else cell.origin.d_sae
