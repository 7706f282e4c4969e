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
import warnings
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from .job import Event, Job, JobDone

_PRELOADED = [
    "saetransfer.bench.quiet",
    "saetransfer.bench.running.state",
    "sae_lens",
    "transformers.models.auto.modeling_auto",
]


@dataclass(frozen=True)
class Crashed:
    """The worker of a job is gone without having finished."""

    exit_code: int
    """Negative: the number of the signal that killed it."""

    @property
    def message(self) -> str:
        """What happened, and the likely cause."""
        if self.exit_code == -signal.SIGKILL:
            return "The worker was killed (signal 9). Most often the system had no memory left for it."
        if self.exit_code < 0:
            return f"The worker died of {signal.Signals(-self.exit_code).name}."
        return f"The worker ended with exit code {self.exit_code} without having finished."


@dataclass(frozen=True)
class _Running:
    job: Job
    process: BaseProcess
    connection: Any
    """The end of a pipe that the worker writes to."""


class LocalExecutor:
    """Runs jobs in processes on this machine."""

    def __init__(self, slots: int, logs: Path) -> None:
        """At most `slots` jobs at a time; log files go into the folder `logs`."""
        self._context = _context()
        self._slots = slots
        self._logs = logs
        self._running: list[_Running] = []

    @property
    def has_room(self) -> bool:
        """Whether another job can start now."""
        return len(self._running) < self._slots

    def submit(self, job: Job) -> None:
        """Start a job."""
        receiving, sending = self._context.Pipe(duplex=False)
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{job.name.replace('/', '__')}.log"
        process = self._context.Process(target=_work, args=(job, sending, str(log)), name=job.name)
        process.start()
        sending.close()
        self._running.append(_Running(job, process, receiving))

    def poll(self, timeout_seconds: float) -> list[tuple[Job, Event | Crashed]]:
        """What jobs have told since the last call; waits for something at most that long."""
        told: list[tuple[Job, Event | Crashed]] = []
        ready = wait([running.connection for running in self._running], timeout_seconds)
        for running in [running for running in self._running if running.connection in ready]:
            event = _received(running)
            told.append((running.job, event))
            if isinstance(event, JobDone | Crashed):
                running.process.join()
                running.connection.close()
                self._running.remove(running)
        return told

    def stop(self) -> None:
        """End all jobs at once."""
        for running in self._running:
            running.process.kill()
            running.process.join()
            running.connection.close()
        self._running.clear()


def warm_up() -> None:
    """Start the server that workers are forked from, so that it imports the libraries while a plan is made."""
    if isinstance(_context(), ForkServerContext):
        forkserver.ensure_running()


def _received(running: _Running) -> Event | Crashed:
    try:
        return running.connection.recv()
    except (EOFError, ConnectionError):
        running.process.join()
        return Crashed(running.process.exitcode or 0)


def _context() -> ForkServerContext | SpawnContext:
    # Threads that wait by spinning bring a machine with a second busy process to a crawl: a state then takes ten to
    # twenty times as long. Sleeping costs next to nothing. It must be said before the libraries are loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _work(job: Job, connection: Connection[Any, Any], log: str) -> None:
    """The worker's whole life."""
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver ends its workers itself
    _print_to(log)
    _quieten()
    import threadpoolctl
    import torch

    from . import artifacts, state

    torch.set_num_threads(job.threads)
    threadpoolctl.threadpool_limits(limits=job.threads)  # NumPy's own pool, whose threads wait by spinning
    tempfile.tempdir = str(artifacts.workspace(job.cache))
    state.run(job, connection.send)
    shutil.rmtree(tempfile.tempdir, ignore_errors=True)
    connection.send(JobDone())
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


def _print_to(log: str) -> None:
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
