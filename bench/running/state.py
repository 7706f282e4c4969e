"""One state, from start to end: load, compress, verify, read, measure, a record for each of its cells.

The one place where anything that goes wrong becomes a record: an exception before the measuring concerns all cells of
the state, one in the making of an SAE concerns the cells of that SAE.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from sae_lens import SAE
from transformers import PreTrainedModel

from ...leaderboard import costs
from ...leaderboard.record import Failure, Record
from ...registry import credentials, models, sites
from ...registry.compressors.method import compress, noted_warnings
from ...registry.compressors.outcome import NotCompressed, WeightBytes
from ...registry.compressors.snapshot import DenseSnapshot
from ...registry.compressors.verify import verify
from ...registry.errors import Impossible
from ...registry.saes import build
from ...registry.saes.build import Built
from ...registry.saes.notes import notes
from ...registry.sites import Site
from ...tasks.cost.figure import CostFigure
from ...tasks.cost.task import CostSettings, time_saes
from ...tasks.cost.timing import QUICKLY
from ...tasks.task import Sums
from ..measuring.counting import Scene, count
from ..measuring.dense_reference import DenseReference
from ..measuring.figures import Figures, figures
from ..measuring.reading import read
from ..planning.grid import CellPlan, Plan, StatePlan
from ..planning.plan import make
from . import devices, environment
from .artifacts import Artifacts, workspace
from .costing import Costing, costs_of, dense_repeats
from .job import CellDone, DenseResults, DenseWanted, Event, Job, JobDone, JobLost, PhaseStarted, Progress
from .memory import OUT_OF_MEMORY, ran_out
from .profiling import Stopwatch
from .sae_supply import Supplied, needs_no_other_state
from .supply import Supply

Ask = Callable[[], DenseResults | None]
"""Waits for what the last `DenseWanted` has asked for: the results of the dense state, or None for its artifacts."""


def run(job: Job, emit: Callable[[Event], None], ask: Ask) -> JobDone | JobLost:
    """Measure a state; every wanted cell ends in a record, whatever happens.

    Returns:
        How the job ended: lost where the suite's files are not what they were when the run was planned.
    """
    devices.use(job.device)
    torch.manual_seed(job.source.suite.seed)
    try:
        plan = make(job.source, (job.model, job.compressor))
        state = next(state for state in plan.states if state.name == job.name)
        _refuse_others(state, job.cell_ids)
    except Exception as error:  # as below: a file that vanished since the run was planned is a result too
        failure = _failure(error, "start", job.device)
        return JobLost(failure.type, failure.message, failure.traceback)
    _StateRun(job, plan, state, emit, ask).run()
    return JobDone()


class InputsChanged(Exception):
    """A model, text, SAE or user's file is not what it was when the run was planned."""


def _refuse_others(state: StatePlan, planned: Mapping[str, str]) -> None:
    """Refuse cells that are not those that the run was planned with, by their ids."""
    changed = [cell.labels.sae for cell in state.cells if planned.get(cell.labels.sae, cell.cell_id) != cell.cell_id]
    if changed:
        raise InputsChanged(
            f"What the cells of {', '.join(changed)} are made from has changed since the run began: a file of the "
            "model, the texts, the SAEs or a compressor was written meanwhile. Run the same command again."
        )


def _failure(error: Exception, phase: str, device: str) -> Failure:
    """What a record says of an exception; no credential stands in it."""
    message = str(error) or type(error).__name__
    lacked_memory = ran_out(error)
    if lacked_memory:
        message = f"There was no memory left on {device}: {message}"
    said = None if isinstance(error, Impossible) else traceback.format_exc()
    return Failure(
        phase=phase,
        type=OUT_OF_MEMORY if lacked_memory else type(error).__name__,
        message=credentials.scrub(message),
        traceback=None if said is None else credentials.scrub(said),
    )


@dataclass
class _Outcome:
    """What is known of a state so far; goes into the record of each of its cells."""

    compression: dict[str, Any] | None = None
    done: set[str] = field(default_factory=set)
    """SAEs whose record is out."""
    sae_speeds: dict[str, CostFigure] = field(default_factory=dict)
    """Tokens that each SAE encodes and decodes in a second."""


class _StateRun:
    def __init__(self, job: Job, plan: Plan, state: StatePlan, emit: Callable[[Event], None], ask: Ask) -> None:
        self._job = job
        self._ask = ask
        self._dense = None if job.waits_for else job.dense
        self._plan = plan
        self._state = state
        self._emit = emit
        self._watch = Stopwatch(lambda phase: emit(PhaseStarted(phase)), job.device)
        self._supply = Supply(plan, state, Artifacts(job.cache), job.device)
        self._outcome = _Outcome()
        self._wanted = [cell for cell in state.cells if cell.labels.sae in job.saes]
        self._places: dict[str, Site] = {}
        """Where the site of each wanted SAE is in the state, which may have fewer blocks than the dense model."""
        self._environment = environment.describe(job.device) | {
            "seed": plan.suite.seed,
            "jobs": job.jobs,
            "command": job.command,
            "trust_remote_code": state.model.trust_remote_code,
        }
        self._costing: Costing | None = None
        if plan.cost is not None:
            dense = dense_repeats(plan.cost, self._environment, job.dense.costs)
            self._costing = Costing(plan.cost, self._watch, dense, state.is_dense)

    def run(self) -> None:
        """Everything that can fail for all cells at once, then the cells by the BOS convention of their SAEs."""
        prepared = [cell for cell in self._state.cells if cell.labels.sae in self._job.prepare]
        with self._failing(self._wanted):
            model = self._compressed()
            self._locate(model)
            for bos in (True, False):
                wanted = [cell for cell in self._wanted if cell.prepend_bos == bos and cell.labels.sae in self._places]
                others = [cell for cell in prepared if cell.prepend_bos == bos and cell not in wanted]
                if wanted or others or bos in self._job.read:
                    self._measure_all(model, bos, wanted, others)

    def _compressed(self) -> PreTrainedModel:
        """The state's model, compressed and verified."""
        state, supply = self._state, self._supply
        if missing := state.compressor.missing():
            raise Impossible(missing)
        with self._watch.phase("load"):
            model = models.load(state.model, self._job.device)
            supply.note_dense(model)
            probe = supply.probe()
        with DenseSnapshot(model, probe) as snapshot, noted_warnings() as notes:
            if not state.is_dense:
                with self._watch.phase("compress"):
                    calibration = supply.calibration() if state.compressor.needs_calibration else None
                    model = compress(model, state.compressor, calibration)
            with self._watch.phase("verify"):
                try:
                    realised = verify(model, snapshot, state.compressor.promise, supply.inspection(), notes)
                except NotCompressed as error:
                    if error.realised is not None:
                        self._outcome.compression = error.realised.to_json()
                    raise
        self._outcome.compression = realised.to_json()
        self._measure_costs(model, realised.bytes)
        return model

    def _measure_costs(self, model: PreTrainedModel, sizes: WeightBytes) -> None:
        """Time, memory and bytes of the state; whatever goes wrong here costs no other figure."""
        if self._costing is None or not self._wanted:
            return
        try:
            self._costing.measure(model, sizes)
        except Exception as error:  # becomes the reason in every cost
            failure = _failure(error, self._watch.current, self._job.device)
            self._costing.give_up(f"{failure.type}: {failure.message}")

    def _locate(self, model: PreTrainedModel) -> None:
        """Find the SAEs' sites in the state; a cell whose site was taken out ends here."""
        for cell in self._wanted:
            with self._failing([cell]):
                self._places[cell.labels.sae] = sites.locate(model, cell.sae.site)

    def _measure_all(
        self, model: PreTrainedModel, bos: bool, wanted: Sequence[CellPlan], others: Sequence[CellPlan]
    ) -> None:
        """Read the text once, make the SAEs, measure all cells of one BOS convention."""
        text, reference = self._supply.evaluation(bos), self._supply.dense_reference(bos)
        with tempfile.TemporaryDirectory(dir=workspace(self._job.cache)) as name:
            folder = Path(name)
            with self._watch.phase("read"):
                places = {self._places[cell.labels.sae] for cell in wanted}
                left = set(reference.sites) if self._state.is_dense else set()
                reading = read(model, text, sorted(places | left), folder, self._progress)
            if self._state.is_dense:
                reference.keep(folder)
            supplied = self._supply_saes(model, bos, [*wanted, *others])
            ready = self._unfinished(wanted)
            scene = Scene(
                self._plan, self._state, self._supply, bos, model, reading, folder, saes=supplied,
                places=self._places, watch=self._watch, progress=self._progress,
            )  # fmt: skip
            with self._failing(ready):
                counted = count(scene, ready, lambda: self._with_fits(ready, reference))
                ready = self._unfinished(ready)
                self._time_saes({cell.labels.sae: supplied[cell.labels.sae].sae for cell in ready})
                for cell in ready:
                    self._report(cell, counted[cell.labels.sae], supplied[cell.labels.sae])

    def _supply_saes(self, model: PreTrainedModel, bos: bool, cells: Sequence[CellPlan]) -> dict[str, Built]:
        """The SAEs of the cells and those that they are compared with; a cell without its SAE ends here."""
        reference, saes = self._supply.dense_reference(bos), self._supply.saes(bos)
        compared = [entry for cell in cells for entry in self._plan.compared_with(cell)]
        left = reference.origins if self._state.is_dense else []
        entries = [*(cell.sae for cell in cells), *compared, *left]
        found: dict[str, Supplied] = {}
        if self._dense is None:
            with self._watch.phase("saes"):
                found = saes.supply(filter(needs_no_other_state, entries), found, model, self._progress)
        self._wait_for([*reference.readings, *saes.keys_of_dense(entries)])
        with self._watch.phase("saes"):
            found = saes.supply(entries, found, model, self._progress)
        for cell in cells:
            with self._failing([cell]):
                for entry in (cell.sae, *self._plan.compared_with(cell)):
                    built = found[entry.name]
                    if isinstance(built, Built):
                        continue
                    if entry.name == cell.labels.sae:
                        raise built
                    raise LookupError(f"SAE '{entry.name}', which it is compared with, failed: {built}")
        return {name: built for name, built in found.items() if isinstance(built, Built)}

    def _with_fits(self, cells: Sequence[CellPlan], reference: DenseReference) -> Sequence[CellPlan]:
        """Wait for what labelled tasks fit on the dense state; a cell that needs a fit which is not there ends here."""
        if self._state.is_dense:
            return cells
        if reference.fits:
            self._wait_for(reference.fits)
        for cell in cells:
            with self._failing([cell]):
                if not isinstance(cell.origin, str):
                    for task in self._plan.labelled_tasks:
                        reference.kept_fit(task, cell.origin)
        return self._unfinished(cells)

    def _unfinished(self, cells: Sequence[CellPlan]) -> list[CellPlan]:
        """Those that have no record yet."""
        return [cell for cell in cells if cell.labels.sae not in self._outcome.done]

    def _wait_for(self, keys: Sequence[Mapping[str, Any]]) -> None:
        """Wait for artifacts of the dense state, or for its results, where it runs still."""
        if self._dense is None:
            self._emit(DenseWanted(tuple(keys)))
            self._dense = self._ask()

    def _dense_results(self) -> DenseResults:
        """What the state is compared with."""
        while self._dense is None:
            self._wait_for([])
        return self._dense

    def _time_saes(self, saes: Mapping[str, SAE[Any]]) -> None:
        """How fast SAEs are: as carefully as the suite asks for, and in a moment where it does not."""
        with self._watch.phase("speed"):
            if self._costing is not None:
                self._outcome.sae_speeds |= self._costing.task.time_saes(saes)
            else:
                self._outcome.sae_speeds |= time_saes(saes, CostSettings().sae_tokens, QUICKLY)

    def _report(self, cell: CellPlan, counted: Mapping[str, Sums], supplied: Built) -> None:
        """Values and intervals of one cell, as its record."""
        dense = None if self._state.is_dense else self._dense_results().sums.get(cell.labels.sae, {})
        found = figures(self._plan.tasks, counted, dense, self._plan.suite.seed)
        if self._costing is not None:
            sae_costs = costs_of(supplied, self._outcome.sae_speeds[cell.labels.sae])
            found.metrics.update(self._costing.measurements(sae_costs))
            found.details[costs.TASK] = self._costing.details_with(sae_costs)
        self._finish(cell, "ok", found=found, supplied=supplied)

    def _finish(
        self,
        cell: CellPlan,
        status: Literal["ok", "failed", "skipped"],
        *,
        found: Figures | None = None,
        supplied: Built | None = None,
        error: Failure | None = None,
    ) -> None:
        record = Record(
            cell_id=cell.cell_id,
            status=status,
            created_at=environment.now(),
            labels=cell.labels,
            spec=cell.spec,  # type: ignore[arg-type]  # pydantic makes the Spec
            compression=self._outcome.compression,
            sae=None if supplied is None else self._facts(cell, supplied),
            metrics=found.metrics if found else {},
            per_document=found.per_document if found else {},
            details=found.details if found else {},
            phases=list(self._watch.phases),
            environment=self._environment,
            error=error,
        )
        self._outcome.done.add(cell.labels.sae)
        self._emit(CellDone(record, found.table if found else None))

    def _facts(self, cell: CellPlan, supplied: Built) -> dict[str, Any]:
        return build.facts(supplied.sae) | {
            "tokens_per_second": self._outcome.sae_speeds[cell.labels.sae].value,
            "cost": asdict(supplied.cost),
            "notes": notes(cell.sae, self._plan.suite.data.context, cell.prepend_bos),
        }

    @contextmanager
    def _failing(self, cells: Sequence[CellPlan]) -> Iterator[None]:
        """Turn an exception into the records of those cells that have none yet."""
        try:
            yield
        except Exception as error:  # the one place: whatever a method, a library or a file does wrong is a result
            status: Literal["failed", "skipped"] = "skipped" if isinstance(error, Impossible) else "failed"
            failure = _failure(error, self._watch.current, self._job.device)
            for cell in cells:
                if cell.labels.sae not in self._outcome.done:
                    self._finish(cell, status, error=failure)

    def _progress(self, fraction: float) -> None:
        self._emit(Progress(fraction))
