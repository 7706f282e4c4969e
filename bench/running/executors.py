"""Where jobs run: local processes, one for each state.

A state has a process of its own so that a crash, or a kill for lack of memory, costs one state, and so that memory
figures belong to it. The heavy libraries are imported once, by a server that every worker is forked from (where the
system can fork). What a worker prints goes to its log file; what it has to say goes through a pipe.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ...leaderboard.store import slug
from ...registry import credentials
from . import devices, workers
from .job import DenseResults, DenseWanted, Event, Job, JobDone, JobLost
from .memory import OUT_OF_MEMORY, kernel_kills


@dataclass
class _Running:
    job: Job
    process: BaseProcess
    connection: Any
    """Our end of the pipe to the worker."""
    log: Path
    start: float
    """On the monotonic clock; later by the time that it has waited for its dense state."""
    kernel_kills: int
    """How many processes the kernel had killed for lack of memory when the job began."""
    waits_since: float | None = None
    """On the monotonic clock; None where it does not wait for its dense state."""


class LocalExecutor:
    """Runs jobs in processes on this machine."""

    def __init__(self, slots: int, logs: Path, timeout_seconds: float | None = None) -> None:
        """At most `slots` jobs at a time, each for at most so long; log files go into the folder `logs`."""
        self._context = workers.context()
        self._slots = slots
        self._logs = logs
        self._timeout_seconds = timeout_seconds
        self._running: list[_Running] = []

    @property
    def has_room(self) -> bool:
        """Whether another job can start now."""
        return len(self._running) < self._slots

    @property
    def has_place(self) -> bool:
        """The same: what is taken starts at once."""
        return self.has_room

    def submit(self, job: Job) -> None:
        """Start a job; of several GPUs it gets one that no other job holds, as far as there are enough."""
        job = replace(job, device=devices.lease(job.device, [running.job.device for running in self._running]))
        ours, theirs = self._context.Pipe()
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{'__'.join(map(slug, job.name.split('/')))}.log"
        n_killed = kernel_kills()
        process = self._context.Process(target=_work, args=(job, theirs, log), name=job.name)
        with workers.without_program():
            process.start()
        theirs.close()
        self._running.append(_Running(job, process, ours, log, time.monotonic(), n_killed))

    def poll(self, timeout_seconds: float) -> list[tuple[Job, Event]]:
        """What jobs have told since the last call; waits for something at most that long."""
        told: list[tuple[Job, Event]] = []
        ready = wait([running.connection for running in self._running], timeout_seconds)
        for running in list(self._running):
            event = _received(running) if running.connection in ready else self._overdue(running)
            if event is not None:
                told.append((running.job, event))
            if isinstance(event, DenseWanted):
                running.waits_since = time.monotonic()
            if isinstance(event, JobDone | JobLost):
                self._end(running)
        return told

    def answer(self, job: Job, dense: DenseResults | None) -> None:
        """Tell a job what it has asked for; one that died meanwhile is noticed by `poll`."""
        running = next(running for running in self._running if running.job.name == job.name)
        if running.waits_since is not None:
            running.start += time.monotonic() - running.waits_since
            running.waits_since = None
        with suppress(OSError):
            running.connection.send(dense)

    def close(self) -> None:
        """End all jobs at once."""
        for running in list(self._running):
            running.process.kill()
            self._end(running)

    def _overdue(self, running: _Running) -> JobLost | None:
        limit = self._timeout_seconds
        if limit is None or running.waits_since is not None or time.monotonic() - running.start < limit:
            return None
        running.process.kill()
        return JobLost("Timeout", f"The state took more than {limit:g} s (--timeout) and was ended.")

    def _end(self, running: _Running) -> None:
        running.process.join()
        running.connection.close()
        _scrub(running.log)
        self._running.remove(running)


def _received(running: _Running) -> Event:
    try:
        return running.connection.recv()
    except (EOFError, ConnectionError):
        running.process.join()
        return crash(running.process.exitcode or 0, kernel_kills() > running.kernel_kills)


def crash(exit_code: int, for_memory: bool) -> JobLost:
    """What became of a worker that is gone without having finished.

    Args:
        exit_code: negative where it is the number of the signal that killed it.
        for_memory: whether the kernel has killed some process for lack of memory meanwhile.
    """
    if exit_code == -signal.SIGKILL and for_memory:
        return JobLost(OUT_OF_MEMORY, "The kernel killed the worker: the system had no memory left. Try fewer --jobs.")
    if exit_code == -signal.SIGKILL:
        said = "The worker was killed (signal 9). Most often the system had no memory left for it."
    elif exit_code == -getattr(signal, "SIGBUS", 0):
        said = "The worker died of SIGBUS: most often a disk was full, or a file that it read was cut short meanwhile."
    elif exit_code < 0:
        said = f"The worker died of {signal.Signals(-exit_code).name}."
    else:
        said = f"The worker ended with exit code {exit_code} without having finished."
    return JobLost("WorkerCrashed", said)


def _scrub(log: Path) -> None:
    """Take credentials out of what a worker has printed."""
    with suppress(OSError):
        said = log.read_text(encoding="utf-8", errors="replace")
        if credentials.are_in(said):
            log.write_text(credentials.scrub(said), encoding="utf-8")


def _work(job: Job, connection: Connection[Any, Any], log: Path) -> None:
    """The worker's whole life."""
    _end_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):  # they reach the whole group; the driver ends its workers itself
        signal.signal(number, signal.SIG_IGN)
    _print_to(log)
    _quieten()
    import threadpoolctl
    import torch

    from . import artifacts, state

    torch.set_num_threads(job.threads)
    threadpoolctl.threadpool_limits(limits=job.threads)  # NumPy's own pool, whose threads wait by spinning
    tempfile.tempdir = str(artifacts.workspace(job.cache))
    end = state.run(job, connection.send, connection.recv)
    shutil.rmtree(tempfile.tempdir, ignore_errors=True)
    connection.send(end)
    connection.close()


def _end_with_parent() -> None:
    """Leave as soon as the driver is gone, however it went: nobody would take the results."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _print_to(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _quieten() -> None:
    """No progress bars in log files; warnings stay."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    warnings.simplefilter("default")
