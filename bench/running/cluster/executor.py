"""Jobs as tasks of a Ray cluster, one a state.

Records, logs and artifacts travel back to the driver, which writes them: its artifact folder holds whatever any node
has made, and a job is offered, through Ray's object store, what of its needs lies there. A node keeps what it has
fetched. So nothing has to be shared, and a lost node takes nothing with it but the states that ran there, which are
run again elsewhere. Where nodes have the driver's artifact folder itself ($SAETRANSFER_CACHE on a shared disk), nothing
of it travels.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from ....leaderboard.store import slug
from ...planning.suite import SuiteFile
from .. import artifacts
from ..artifacts import Artifacts
from ..job import CellDone, DenseResults, DenseWanted, Event, Job, JobDone, JobLost, PhaseStarted
from ..memory import OUT_OF_MEMORY
from ..run import Settings
from .connection import nodes
from .demands import Demand
from .host import Delivery, Errand, Log, host, versions
from .mailbox import Key, Letter, Offer, open_mailbox
from .parcels import artifact_parcel, packed, unpack
from .suite_files import files_of

_ATTEMPTS = 4
"""How often a state is tried whose node or worker is lost."""
_QUEUED = 2
"""Jobs handed to Ray, in sizes of what the cluster holds: some wait there, so that no place is ever idle."""
_LOOK_SECONDS = 5.0
"""How often the cluster is asked what it consists of."""
_PATIENCE_SECONDS = 60.0
"""How long a job waits for a node that could hold it, once those that could are lost."""


@dataclass
class _Task:
    job: Job
    """As it was handed in."""
    left: Job
    """Without the cells that are done."""
    messages: Any = None
    """Ray's generator of what the node sends; None while the task is held back until its dense state is done."""
    attempts: int = 1
    """How often its node or worker was lost, and once more."""
    starts: int = 0
    """How often it was handed to Ray: more often, where it had to make way."""
    was_heard: bool = False
    """Whether it has sent anything since its last start."""
    asks: bool = False
    """Whether it waits for its dense state."""
    made: set[str] = field(default_factory=set)
    """Artifacts that it has sent, by the names of their folders."""
    hopeless_since: float | None = None

    @property
    def address(self) -> str:
        """Where a letter reaches it, and nothing that is left of an earlier start."""
        return f"{self.job.name}, start {self.starts}"


class RayExecutor:
    """Runs jobs on the cluster that this process is connected to."""

    def __init__(self, source: SuiteFile, settings: Settings, slots: int | None) -> None:
        """At most `slots` jobs at a time, where somebody says how many."""
        self._slots = slots
        self._logs = settings.logs
        self._timeout_seconds = settings.timeout_seconds
        self._artifacts = Artifacts(settings.cache)
        self._tasks: list[_Task] = []
        self._refused: list[tuple[Job, Event]] = []
        self._parcels: dict[str, Any] = {}
        self._nodes = nodes()
        self._looked = time.monotonic()
        self._files = files_of(source)
        self._files_parcel = ray.put(packed(self._files.root, self._files.stamps))
        self._versions = versions()
        self._cache = settings.cache
        self._mark = artifacts.workspace(settings.cache) / f"mark-{uuid.uuid4().hex}"
        self._mark.touch()
        self._places = 1

    @property
    def has_room(self) -> bool:
        """Whether another job can be taken now."""
        return len(self._tasks) < (self._slots or _QUEUED * self._places)

    @property
    def has_place(self) -> bool:
        """Whether a node is idle, as far as this run knows."""
        return self.has_room and len(self._tasks) < self._places

    def submit(self, job: Job) -> None:
        """Hand a job to Ray, unless no node could ever hold it."""
        demand = Demand.of(job)
        if shortage := demand.shortage(self._nodes):
            self._refused.append((job, JobLost("NoSuchNode", shortage, status="skipped")))
            return
        self._places = sum(demand.places(node) for node in self._nodes)
        task = _Task(job, job)
        self._start(task)
        self._tasks.append(task)

    def poll(self, timeout_seconds: float) -> list[tuple[Job, Event]]:
        """What jobs have told since the last call; waits for something at most that long."""
        told, self._refused = self._refused, []
        sending = [task.messages for task in self._tasks if task.messages is not None]
        if sending and not told:
            ready, _ = ray.wait(sending, timeout=timeout_seconds)
            for task in [task for task in self._tasks if task.messages in ready]:
                told += [(task.job, event) for event in self._heard(task)]
            told += self._hopeless()
            self._make_way()
        return told

    def answer(self, job: Job, dense: DenseResults | None) -> None:
        """Tell a job what its dense state has found so far, and offer it what that has made."""
        task = next(task for task in self._tasks if task.job.name == job.name)
        if dense is not None:
            task.left = replace(task.left, dense=dense, waits_for=None)
        task.asks = False
        if task.messages is None:
            self._start(task)
        else:
            offered = self._offer(key for key in job.artifacts if self._artifacts.folder(key).name not in task.made)
            self._mailbox.put.remote(task.address, Letter(dense, offered))

    def close(self) -> None:
        """End all jobs at once."""
        for task in self._tasks:
            _cancel(task)
        self._tasks.clear()
        self._mark.unlink(missing_ok=True)
        with suppress(OSError):  # this process may be writing something else there
            self._mark.parent.rmdir()

    @cached_property
    def _mailbox(self) -> Any:
        return open_mailbox()

    def _start(self, task: _Task) -> None:
        """Start what is left of a task."""
        task.starts += 1
        task.was_heard = task.asks = False
        job = task.left
        demand = Demand.of(job)
        offered = self._offer(job.artifacts)
        present = [key for key, _ in offered]
        errand = Errand(
            job=replace(job, artifacts=()),
            offered=offered,
            wanted=tuple(key for key in job.artifacts if key not in present),
            files=self._files,
            files_parcel=self._files_parcel,
            mark=self._mark.relative_to(self._cache),
            versions=self._versions,
            timeout_seconds=self._timeout_seconds,
            mailbox=self._mailbox if job.waits_for else None,
            address=task.address,
        )
        remote = ray.remote(host).options(
            name=job.name,
            num_returns="streaming",
            num_cpus=demand.cpus,
            num_gpus=demand.gpus,
            memory=demand.memory_bytes or None,
            max_retries=0,  # what was done already must not be done again: see `_again`
        )
        task.messages = remote.remote(errand)

    def _offer(self, keys: Iterable[Key]) -> Offer:
        """What there is of some artifacts."""
        return tuple((key, self._offered(key)) for key in keys if self._artifacts.find(key) is not None)

    def _offered(self, key: Key) -> Any:
        """The reference of an artifact in the object store, where it stays while jobs that run may need it."""
        folder = self._artifacts.folder(key)
        if folder.name not in self._parcels:
            self._parcels[folder.name] = ray.put(artifact_parcel(folder))
        return self._parcels[folder.name]

    def _heard(self, task: _Task) -> Sequence[Event]:
        """The next message of a task."""
        try:
            message: Any = ray.get(next(task.messages))
        except RayTaskError as error:  # of our own code on the node: a full disk, for example
            return self._ended(task, JobLost(type(error.cause).__name__, str(error.cause), str(error)))
        except (RayError, StopIteration) as error:
            return self._again(task, error)
        task.was_heard = True
        if isinstance(message, Delivery):
            self._receive(message)
            task.made.add(self._artifacts.folder(message.key).name)
        elif isinstance(message, Log):
            self._logs.mkdir(parents=True, exist_ok=True)
            name = "__".join(map(slug, task.job.name.split("/")))
            (self._logs / f"{name}.log").write_text(message.text, encoding="utf-8")
        else:
            done = {event.record.labels.sae for event in message if isinstance(event, CellDone)}
            task.left = replace(task.left, saes=tuple(sae for sae in task.left.saes if sae not in done))
            task.asks = task.asks or any(isinstance(event, DenseWanted) for event in message)
            if isinstance(message[-1], JobDone | JobLost):
                self._forget(task)
            return message
        return ()

    def _receive(self, delivery: Delivery) -> None:
        with self._artifacts.making([delivery.key]):
            if self._artifacts.find(delivery.key) is None:
                with self._artifacts.create(delivery.key) as folder:
                    unpack(delivery.parcel, folder)

    def _again(self, task: _Task, error: Exception) -> Sequence[Event]:
        """Start a task anew whose node or worker is gone, with what is left of it."""
        kind = OUT_OF_MEMORY if isinstance(error, OutOfMemoryError) else type(error).__name__
        if task.attempts == _ATTEMPTS:
            return self._ended(task, JobLost(kind, f"Lost {_ATTEMPTS} times; the last time: {_sentence(error)}"))
        task.attempts += 1
        self._start(task)
        return [PhaseStarted("start")]

    def _make_way(self) -> None:
        """Take places back from tasks that wait for a dense state which has none, since its node was lost.

        What is left of them starts when the dense state is done.
        """
        unheard = {task.job.name for task in self._tasks if not task.was_heard}
        for task in self._tasks:
            if task.asks and task.left.waits_for in unheard:
                _cancel(task)

    def _hopeless(self) -> list[tuple[Job, Event]]:
        """Jobs that no node is left for; asked now and then."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return []
        self._looked, self._nodes = now, nodes()
        told: list[tuple[Job, Event]] = []
        for task in list(self._tasks):
            shortage = Demand.of(task.job).shortage(self._nodes)
            task.hopeless_since = None if shortage is None else task.hopeless_since or now
            if shortage and task.hopeless_since and now - task.hopeless_since > _PATIENCE_SECONDS:
                _cancel(task)
                told += [(task.job, event) for event in self._ended(task, JobLost("NoSuchNode", shortage))]
        return told

    def _ended(self, task: _Task, lost: JobLost) -> Sequence[Event]:
        self._forget(task)
        return [lost]

    def _forget(self, task: _Task) -> None:
        """Drop a task, and parcels that no other one uses."""
        self._tasks.remove(task)
        used = {self._artifacts.folder(key).name for other in self._tasks for key in other.job.artifacts}
        self._parcels = {name: parcel for name, parcel in self._parcels.items() if name in used}


def _cancel(task: _Task) -> None:
    if task.messages is not None:
        ray.cancel(task.messages, force=True)
    task.messages = None


def _sentence(error: Exception) -> str:
    """What Ray says first: the rest of its messages is advice."""
    return str(error).strip().partition("\n")[0].partition(". ")[0] + "."
