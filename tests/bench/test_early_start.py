"""States that start while the dense state of their model runs: what they do without it, and how they wait for it."""

from __future__ import annotations

import multiprocessing
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from saetransfer.bench.commands.progress import PlainView
from saetransfer.bench.console import console
from saetransfer.bench.planning import plan, suite
from saetransfer.bench.running import executors, state
from saetransfer.bench.running.executors import LocalExecutor
from saetransfer.bench.running.job import CellDone, DenseResults, DenseWanted, Event, Job, JobDone, JobLost
from saetransfer.bench.running.run import Run, Settings
from saetransfer.bench.running.todo import todo
from saetransfer.leaderboard import store
from saetransfer.leaderboard.record import Record
from tests.bench.test_tasks import LABELLED, documents, write_rows
from tests.bench.world import write_suite

SAES = [
    {"name": "frozen", "source": "pretrained", "path": "sae"},
    {"name": "native", "source": "trained", "like": "frozen", "on": "state", "tokens": 2000},
    {"name": "once", "source": "trained", "like": "frozen", "on": "dense", "tokens": 2000},
    {"name": "tuned", "source": "finetuned", "base": "once", "on": "state", "tokens": 1000},
]


class DenseLast:
    """Carries out jobs in threads; a dense state begins only when nothing else can go on without it."""

    def __init__(self, places: int, cache: Path, *, loses_dense: bool = False) -> None:
        self.submitted: list[Job] = []
        self.made_before_dense: set[str] = set()
        self._places = places
        self._cache = cache
        self._loses_dense = loses_dense
        self._dense: Job | None = None
        self._open = 0
        self._told: queue.Queue[tuple[Job, Event]] = queue.Queue()
        self.answers: list[DenseResults | None] = []
        self.wanted: defaultdict[str, list[set[str]]] = defaultdict(list)
        """Kinds of artifacts that each job has waited for, each time."""
        self._answers: dict[str, queue.Queue[DenseResults | None]] = {}

    @property
    def has_room(self) -> bool:
        return self._open < self._places

    @property
    def has_place(self) -> bool:
        return self.has_room

    def submit(self, job: Job) -> None:
        self._open += 1
        self.submitted.append(job)
        if job.compressor == "dense":
            self._dense = job
        else:
            self._start(job)

    def poll(self, timeout_seconds: float) -> list[tuple[Job, Event]]:
        if self._dense is not None and self._all_wait():
            self.made_before_dense = {path.name for path in self._cache.glob("sae/*")}
            dense, self._dense = self._dense, None
            if self._loses_dense:
                self._told.put((dense, JobLost("WorkerCrashed", "it is gone")))
            else:
                self._start(dense)
        try:
            job, event = self._told.get(timeout=timeout_seconds)
        except queue.Empty:
            return []
        if isinstance(event, DenseWanted):
            self.wanted[job.name].append({key["kind"] for key in event.artifacts})
            self._answers.setdefault(job.name, queue.Queue())
        self._open -= isinstance(event, JobDone | JobLost)
        return [(job, event)]

    def answer(self, job: Job, dense: DenseResults | None) -> None:
        self.answers.append(dense)
        self._answers[job.name].put(dense)

    def close(self) -> None:
        pass

    def _all_wait(self) -> bool:
        early = [job for job in self.submitted if job.waits_for]
        return self._open == len(early) + 1 and all(job.name in self._answers for job in early)

    def _start(self, job: Job) -> None:
        def ask() -> DenseResults | None:
            while job.name not in self._answers:
                time.sleep(0.01)
            return self._answers[job.name].get(timeout=60)

        def work() -> None:
            self._told.put((job, state.run(job, lambda event: self._told.put((job, event)), ask)))

        threading.Thread(target=work, daemon=True).start()


def run_on(world: Path, executor: Callable[[Path], Any], name: str, **changes: Any) -> tuple[Any, dict[str, Record]]:
    """Run a suite of three states from nothing; the executor, and the records by compressor and SAE."""
    compressors = ["dense", "wanda-50", "rtn-3"]
    source = suite.load(str(write_suite(world, compressors=compressors, **{"saes": SAES, **changes})))
    planned = plan.make(source)
    settings = Settings(world / name, world / f"{name}-cache", "cpu", 3, 1, "saetransfer run")
    settings.cache.mkdir()
    work = todo(planned, settings.out, settings.cache, "cpu", "missing")
    made = executor(settings.cache)
    Run(source, planned, work, settings).run(PlainView(console(), work.n_cells), made)
    records = store.read_all([settings.out]).records
    return made, {f"{record.labels.compressor}/{record.labels.sae}": record for record in records}


def test_states_do_all_they_can_before_the_dense_one_is_done_and_come_to_the_same(world: Path) -> None:
    tasks = ["reconstruction", "perplexity", "overlap"]
    early, found = run_on(world, lambda cache: DenseLast(3, cache), "early", tasks=tasks)
    assert [job.waits_for for job in early.submitted] == [None, "toy/dense", "toy/dense"]
    # Each of the two has trained its own SAE; those that need one of the dense state came later.
    assert len(early.made_before_dense) == 2
    # They went on when the dense state had read its text and made its SAE, and were told its figures in the end.
    assert early.answers[:2] == [None, None]
    assert all(
        answer is not None and answer.sums.keys() == {"frozen", "native", "once", "tuned"}
        for answer in early.answers[2:]
    )
    _, expected = run_on(world, lambda cache: DenseLast(1, cache), "late", tasks=tasks)
    assert found.keys() == expected.keys()
    for name, record in expected.items():
        assert record.status == "ok"
        assert found[name].cell_id == record.cell_id
        assert found[name].metrics == record.metrics


def test_fits_of_the_dense_state_are_waited_for_when_there_is_nothing_else_to_do(world: Path) -> None:
    write_rows(world / "said.jsonl", documents(200))
    data = {"text": "stories.txt", "tokens": 500, "context": 24, "probing": [LABELLED]}
    given = {"tasks": ["reconstruction", {"name": "probing", "k": [1, 5]}], "data": data, "saes": SAES[:2]}
    early, found = run_on(world, lambda cache: DenseLast(3, cache), "early", **given)
    assert dict(early.wanted) == {name: [{"reading"}, {"fit"}, set()] for name in ("toy/wanda-50", "toy/rtn-3")}
    _, expected = run_on(world, lambda cache: DenseLast(1, cache), "late", **given)
    assert found.keys() == expected.keys()
    for name, record in expected.items():
        assert record.status == "ok"
        assert found[name].metrics == record.metrics


@pytest.mark.parametrize(("places", "tasks"), [(1, ["perplexity"]), (3, ["perplexity", "cost"])])
def test_nothing_runs_beside_a_dense_state_on_one_place_or_while_costs_are_measured(
    world: Path, places: int, tasks: list[str]
) -> None:
    executor, found = run_on(world, lambda cache: DenseLast(places, cache), "out", tasks=tasks, saes=SAES[:1])
    assert [job.waits_for for job in executor.submitted] == [None] * 3
    assert {record.status for record in found.values()} == {"ok"}


def test_states_whose_dense_state_is_lost_do_not_wait_for_ever(world: Path) -> None:
    _, found = run_on(world, lambda cache: DenseLast(3, cache, loses_dense=True), "out")
    assert {record.status for record in found.values()} == {"failed"}
    assert found["dense/frozen"].error.type == "WorkerCrashed"
    for name, reason in (("frozen", "no reading of the dense toy"), ("once", "is made on the dense state")):
        assert reason in found[f"rtn-3/{name}"].error.message


def waiting(world: Path, executor: LocalExecutor) -> Job:
    """A job of that executor, which has come to ask for its dense state."""
    source = suite.load(str(write_suite(world, saes=SAES[:1])))
    job = Job(source, "toy", "magnitude-50", ("frozen",), waits_for="toy/dense", cache=world / "cache")
    executor.submit(job)
    assert isinstance(until(executor, DenseWanted | JobDone | JobLost)[-1], DenseWanted)
    return job


def until(executor: LocalExecutor, kinds: Any) -> list[Event]:
    """What the only job tells, up to an event of one of some kinds."""
    events: list[Event] = []
    while not events or not isinstance(events[-1], kinds):
        events += [event for _, event in executor.poll(1.0)]
    return events


def test_the_time_that_a_state_waits_is_none_of_its_own(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(LocalExecutor(1, world / "logs", timeout_seconds=300)) as executor:
        job = waiting(world, executor)
        now = time.monotonic()
        monkeypatch.setattr(executors, "time", SimpleNamespace(monotonic=lambda: now + 3600))
        assert executor.poll(0.01) == []
        executor.answer(job, DenseResults())
        events = until(executor, JobDone | JobLost)
    assert isinstance(events[-1], JobDone), events[-1]
    assert any(isinstance(event, CellDone) for event in events)


def test_a_state_that_dies_while_it_waits_is_lost_and_nobody_is_told_in_vain(world: Path) -> None:
    with closing(LocalExecutor(1, world / "logs")) as executor:
        job = waiting(world, executor)
        [process] = [child for child in multiprocessing.active_children() if child.name == job.name]
        process.kill()
        executor.answer(job, DenseResults())
        assert isinstance(until(executor, JobDone | JobLost)[-1], JobLost)
