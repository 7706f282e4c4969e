"""Drives a plan through an executor: what is missing is run, every record is written as soon as it is known."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ...leaderboard import store
from ...leaderboard.errors import RecordError
from ...leaderboard.record import Failure, Record
from ...registry.saes import lineage
from ...tasks.perplexity import NO_DENSE
from ..commands.progress import View
from ..planning.plan import CellPlan, Plan, StatePlan
from ..planning.suite import SuiteFile
from . import environment
from .artifacts import Artifacts
from .executors import LocalExecutor
from .interruption import requests
from .job import CellDone, Job, JobDone, JobLost, PhaseStarted, Progress
from .supply import Supply

Rerun = Literal["missing", "failed", "all"]

GAP = "perplexity.transfer_gap"
"""The metric that compares a cell with its dense cell."""

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Settings:
    """How to run: nothing here changes a figure."""

    out: Path
    cache: Path
    device: str
    slots: int
    threads: int
    command: str
    timeout_seconds: float | None = None
    """After which a state is ended."""


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
            if _is_wanted(record, rerun) or (comparable and _lacks_comparison(record)):
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
        supply = Supply(plan, state, artifacts, device)
        saes = {name for cell in missing[state.name] for name in _saes_needed(plan, supply, cell)}
        wanted = {cell.prepend_bos for cell in missing[state.name]}
        conventions = {bos for bos in wanted if not supply.dense_reference(bos).is_complete()}
        if saes or conventions:
            needed = prepare.setdefault(plan.dense_of(state).name, Preparation())
            needed.saes.update(saes)
            needed.conventions.update(conventions)
    return prepare


def _saes_needed(plan: Plan, supply: Supply, cell: CellPlan) -> Iterator[str]:
    """SAEs that the dense state has to make, or to fit tasks with, before a cell of another state can be measured."""
    bos, origin, other = cell.prepend_bos, cell.origin, cell.counterpart
    used = lineage.ancestors(cell.sae)
    if plan.compares_features and not isinstance(other, str):
        used += lineage.ancestors(other)
    yield from (entry.name for entry in used if entry.on == "dense" and not supply.saes(bos).is_made(entry))
    reference = supply.dense_reference(bos)
    if not isinstance(origin, str) and not all(reference.has_fit(task, origin) for task in plan.labelled_tasks):
        yield origin.name


class Run:
    """One run of a plan."""

    def __init__(self, source: SuiteFile, plan: Plan, work: Todo, settings: Settings) -> None:
        self._source = source
        self._plan = plan
        self._work = work
        self._settings = settings
        self._open = {name: {cell.labels.sae: cell for cell in cells} for name, cells in work.cells.items()}
        self._phases: dict[str, str] = {}
        self.n_failed = 0
        """Cells of this run without figures."""

    def run(self, view: View) -> None:
        """Run all jobs; a state starts when the dense state of its model is done.

        Raises:
            Interrupted: somebody asked to stop; what was known by then is written.
            OSError: a record cannot be written.
        """
        settings = self._settings
        executor = LocalExecutor(settings.slots, settings.out / "logs", settings.timeout_seconds)
        names = set(self._work.cells) | set(self._work.prepare)
        pending = [state for state in self._plan.states if state.name in names]
        unfinished = {state.name for state in pending}
        with requests() as asked, contextlib.closing(executor):
            while unfinished:
                while state := self._ready(pending, unfinished, executor):
                    view.job(state.name, "start", 0.0)
                    executor.submit(self._job(state))
                for job, event in executor.poll(_POLL_SECONDS):
                    self._handle(job, event, view)
                    if isinstance(event, JobDone | JobLost):
                        unfinished.discard(job.name)
                asked.raise_if_any()

    def _ready(self, pending: list[StatePlan], unfinished: set[str], executor: LocalExecutor) -> StatePlan | None:
        """A state that can start now, taken off `pending`; None where there is none, or no room for it."""
        for state in pending:
            if executor.has_room and (state.is_dense or self._plan.dense_of(state).name not in unfinished):
                pending.remove(state)
                return state
        return None

    def _job(self, state: StatePlan) -> Job:
        settings, cells = self._settings, self._work.cells.get(state.name, [])
        dense = {} if state.is_dense else {cell.labels.sae: cell for cell in self._plan.dense_of(state).cells}
        preparation = self._work.prepare.get(state.name, Preparation())
        records = {cell.labels.sae: record_of(dense[cell.labels.sae], settings.out) for cell in cells if dense}
        return Job(
            source=self._source,
            model=state.model.name,
            compressor=state.compressor.name,
            saes=tuple(cell.labels.sae for cell in cells),
            prepare=tuple(sorted(preparation.saes)),
            read=tuple(sorted(preparation.conventions)),
            dense_sums={name: record.per_document for name, record in records.items() if record is not None},
            cache=settings.cache,
            device=settings.device,
            threads=settings.threads,
            jobs=settings.slots,
            command=settings.command,
            cell_ids={cell.labels.sae: cell.cell_id for cell in cells},
        )

    def _handle(self, job: Job, event: object, view: View) -> None:
        if isinstance(event, PhaseStarted):
            self._phases[job.name] = event.phase
            view.job(job.name, event.phase, 0.0)
        elif isinstance(event, Progress):
            view.job(job.name, self._phases[job.name], event.fraction)
        elif isinstance(event, CellDone):
            if event.table is not None:
                store.write_table(event.record, event.table, self._settings.out)
            self._write(job.name, event.record, view)
        else:
            if isinstance(event, JobLost):
                for cell in list(self._open.get(job.name, {}).values()):
                    self._write(job.name, self._lost(job, cell, event), view)
            view.job_ended(job.name)

    def _write(self, job_name: str, record: Record, view: View) -> None:
        store.write(record, self._settings.out)
        self._open[job_name].pop(record.labels.sae, None)
        self.n_failed += record.status != "ok"
        view.cell(record)

    def _lost(self, job: Job, cell: CellPlan, event: JobLost) -> Record:
        phase = self._phases.get(job.name, "start")
        return Record(
            cell_id=cell.cell_id,
            status="failed",
            created_at=environment.now(),
            labels=cell.labels,
            spec=cell.spec,  # type: ignore[arg-type]  # pydantic makes the Spec
            environment=environment.describe(job.device) | {"seed": self._plan.suite.seed, "command": job.command},
            error=Failure(phase=phase, type=event.type, message=event.message, traceback=event.traceback),
        )
