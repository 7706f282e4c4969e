"""Drives a plan through an executor: what is missing is run, every record is written as soon as it is known."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
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
from .executor import Executor
from .interruption import requests
from .job import CellDone, Job, JobDone, JobLost, PhaseStarted, Progress
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

    def run(self, view: View, executor: Executor) -> None:
        """Run all jobs; a state starts when the dense state of its model is done.

        Raises:
            Interrupted: somebody asked to stop; what was known by then is written.
            OSError: a record cannot be written.
        """
        names = set(self._work.cells) | set(self._work.prepare)
        pending = [state for state in self._plan.states if state.name in names]
        unfinished = {state.name for state in pending}
        with requests() as asked, contextlib.closing(executor):
            while unfinished:
                while state := self._ready(pending, unfinished, executor):
                    view.job(state.name, "start", 0.0)
                    self._started[state.name] = time.monotonic()
                    executor.submit(self._job(state))
                for job, event in executor.poll(_POLL_SECONDS):
                    self._handle(job, event, view)
                    if isinstance(event, JobDone | JobLost):
                        unfinished.discard(job.name)
                asked.raise_if_any()

    def _ready(self, pending: list[StatePlan], unfinished: set[str], executor: Executor) -> StatePlan | None:
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
            dense_costs=with_costs(self._plan, records.values()),
            artifacts=self._artifacts(state),
            memory_bytes=memory_bytes(state),
            cache=settings.cache,
            device=settings.device,
            threads=settings.threads,
            jobs=settings.slots,
            command=settings.command,
            cell_ids={cell.labels.sae: cell.cell_id for cell in cells},
        )

    def _artifacts(self, state: StatePlan) -> tuple[Mapping[str, Any], ...]:
        keys = ArtifactKeys(self._plan, state, self._settings.device).of(state.cells)
        return tuple({canonical_json(key): key for key in keys}.values())

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
            else:
                self._note_time(job)
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
        state = next(state for state in self._plan.states if state.name == job.name)
        if peak := self._peaks.get(job.name):
            seconds = time.monotonic() - self._started[job.name]
            found = known_times.state_time(self._plan, state, job.device, len(job.saes), seconds, peak)
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
