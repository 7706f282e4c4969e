"""Drives a plan through an executor: what is missing is run, every record is written as soon as it is known."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...leaderboard import store
from ...leaderboard.record import Failure, Record, canonical_json
from ..commands.progress import View
from ..planning.grid import CellPlan, Plan, StatePlan
from ..planning.needs import memory_bytes
from ..planning.suite import SuiteFile
from . import environment, known_times
from .artifact_keys import ArtifactKeys
from .artifacts import Artifacts
from .executor import Executor
from .interruption import requests
from .job import CellDone, DenseResults, DenseWanted, Job, JobLost, PhaseStarted, Progress
from .known_costs import with_costs
from .preparation import Preparation
from .todo import Todo, record_of

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

    @property
    def logs(self) -> Path:
        """Folder for what workers print."""
        return self.out / "logs"


class Run:
    """One run of a plan."""

    def __init__(self, source: SuiteFile, plan: Plan, work: Todo, settings: Settings) -> None:
        self._source = source
        self._plan = plan
        self._work = work
        self._settings = settings
        self._open = {name: {cell.labels.sae: cell for cell in cells} for name, cells in work.cells.items()}
        self._phases: dict[str, str] = {}
        self._started: dict[str, float] = {}
        self._peaks: dict[str, int] = {}
        names = set(work.cells) | set(work.prepare)
        self._pending = [state for state in plan.states if state.name in names]
        self._unfinished = {state.name for state in self._pending}
        self._artifacts = Artifacts(settings.cache)
        self._asked: dict[str, tuple[Job, DenseWanted, float]] = {}
        """Jobs that wait for their dense state, by name: for what, and since when."""

    def run(self, view: View, executor: Executor) -> None:
        """Run all jobs.

        States start whose dense state is done. Where a place would stay empty, those start too whose dense state runs:
        they load, compress, and make SAEs of their own, and then wait for it.

        Raises:
            Interrupted: somebody asked to stop; what was known by then is written.
            OSError: a record cannot be written.
        """
        with requests() as asked, contextlib.closing(executor):
            while self._unfinished:
                while state := self._next(executor):
                    view.job(state.name, "start", 0.0)
                    self._started[state.name] = time.monotonic()
                    executor.submit(self._job(state))
                for job, event in executor.poll(_POLL_SECONDS):
                    self._handle(job, event, view)
                self._answer(executor)
                asked.raise_if_any()

    def _next(self, executor: Executor) -> StatePlan | None:
        """A state that can start now, taken off those that are pending; None where there is none, or no room for it."""
        if not executor.has_room:
            return None
        found = next((state for state in self._pending if self._waits_for(state) is None), None)
        # Costs of a dense state are measured while nothing runs beside it.
        if found is None and executor.has_place and self._plan.cost is None:
            found = next((state for state in self._pending if self._waits_for(state) in self._started), None)
        if found is not None:
            self._pending.remove(found)
        return found

    def _waits_for(self, state: StatePlan) -> str | None:
        """Name of the dense state that another one is compared with, where that is not done."""
        dense = self._plan.dense_of(state).name
        return dense if not state.is_dense and dense in self._unfinished else None

    def _answer(self, executor: Executor) -> None:
        """Tell jobs what they wait for, as far as it is there."""
        for name, (job, wanted, since) in list(self._asked.items()):
            is_done = job.waits_for not in self._unfinished
            if is_done or self._are_there(wanted.artifacts):
                del self._asked[name]
                self._started[name] += time.monotonic() - since
                executor.answer(job, self._dense_results(self._state(name)) if is_done else None)

    def _are_there(self, keys: Sequence[Mapping[str, Any]]) -> bool:
        """Whether some artifacts were asked for, and are all there and whole."""
        return bool(keys) and all(self._artifacts.find(key) is not None for key in keys)

    def _dense_results(self, state: StatePlan) -> DenseResults:
        """What the records of the dense state say, for the cells of another one that are to be measured."""
        wanted = {cell.labels.sae for cell in self._work.cells.get(state.name, [])}
        dense = [cell for cell in self._plan.dense_of(state).cells if cell.labels.sae in wanted]
        records = {cell.labels.sae: record_of(cell, self._settings.out) for cell in dense}
        return DenseResults(
            sums={name: record.per_document for name, record in records.items() if record is not None},
            costs=with_costs(self._plan, records.values()),
        )

    def _state(self, name: str) -> StatePlan:
        return next(state for state in self._plan.states if state.name == name)

    def _job(self, state: StatePlan) -> Job:
        settings, cells = self._settings, self._work.cells.get(state.name, [])
        preparation = self._work.prepare.get(state.name, Preparation())
        waits_for = self._waits_for(state)
        return Job(
            source=self._source,
            model=state.model.name,
            compressor=state.compressor.name,
            saes=tuple(cell.labels.sae for cell in cells),
            prepare=tuple(sorted(preparation.saes)),
            read=tuple(sorted(preparation.conventions)),
            dense=DenseResults() if state.is_dense or waits_for else self._dense_results(state),
            waits_for=waits_for,
            artifacts=self._artifact_keys(state),
            memory_bytes=memory_bytes(state),
            cache=settings.cache,
            device=settings.device,
            threads=settings.threads,
            jobs=settings.slots,
            command=settings.command,
            cell_ids={cell.labels.sae: cell.cell_id for cell in cells},
        )

    def _artifact_keys(self, state: StatePlan) -> tuple[Mapping[str, Any], ...]:
        keys = ArtifactKeys(self._plan, state, self._settings.device).of(state.cells)
        return tuple({canonical_json(key): key for key in keys}.values())

    def _handle(self, job: Job, event: object, view: View) -> None:
        if isinstance(event, PhaseStarted):
            self._phases[job.name] = event.phase
            view.job(job.name, event.phase, 0.0)
        elif isinstance(event, Progress):
            view.job(job.name, self._phases[job.name], event.fraction)
        elif isinstance(event, DenseWanted):
            self._asked[job.name] = (job, event, time.monotonic())
            view.job(job.name, "waits for the dense state", 0.0)
        elif isinstance(event, CellDone):
            if event.table is not None:
                store.write_table(event.record, event.table, self._settings.out)
            self._write(job.name, event.record, view)
        else:
            if isinstance(event, JobLost):
                for cell in list(self._open.get(job.name, {}).values()):
                    self._write(job.name, self._lost(job, cell, event), view)
            else:
                self._note_time(job)
            self._asked.pop(job.name, None)
            self._unfinished.discard(job.name)
            view.job_ended(job.name)

    def _write(self, job_name: str, record: Record, view: View) -> None:
        store.write(record, self._settings.out)
        self._open[job_name].pop(record.labels.sae, None)
        if record.status == "ok":
            peaks = (phase.peak_rss_bytes or 0 for phase in record.phases)
            self._peaks[job_name] = max(self._peaks.get(job_name, 0), *peaks)
        view.cell(record)

    def _note_time(self, job: Job) -> None:
        """Keep what a state took, for later plans; one of which nothing was measured says nothing."""
        if peak := self._peaks.get(job.name):
            seconds = time.monotonic() - self._started[job.name]
            found = known_times.state_time(self._plan, self._state(job.name), job.device, len(job.saes), seconds, peak)
            known_times.note(self._settings.cache, found)

    def _lost(self, job: Job, cell: CellPlan, event: JobLost) -> Record:
        phase = self._phases.get(job.name, "start")
        return Record(
            cell_id=cell.cell_id,
            status=event.status,
            created_at=environment.now(),
            labels=cell.labels,
            spec=cell.spec,  # type: ignore[arg-type]  # pydantic makes the Spec
            environment=environment.describe(job.device) | {"seed": self._plan.suite.seed, "command": job.command},
            error=Failure(phase=phase, type=event.type, message=event.message, traceback=event.traceback),
        )
