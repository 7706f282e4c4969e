"""Drivers of runs in processes of their own, forked from this one: real enough to be killed, and ready at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from saetransfer.bench.commands import progress
from saetransfer.bench.running import artifacts, workers
from saetransfer.leaderboard import store
from saetransfer.leaderboard.record import Record
from tests.bench.command import saetransfer

RUN = ("run", "suite.yaml", "--out", "out")
MADE = "made"
"""File in a cache to which the workers of a driver write the folder of every artifact that they make."""
_PHASES = "phases"
"""File in a world to which a driver writes every phase that a job comes to."""


def fork(function: Callable[..., object], *arguments: Any) -> BaseProcess:
    """Start a function in a fork of this process, whose libraries are loaded."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    with warnings.catch_warnings():
        # The workers of pytest-xdist have a second thread, which takes no lock that a fork could need.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    return process


def drive(world: Path, *more: str) -> BaseProcess:
    """Start `saetransfer run` on a world's suite."""
    return fork(_drive, world, more)


def _drive(world: Path, more: tuple[str, ...]) -> None:
    os.setsid()
    workers.context = lambda: multiprocessing.get_context("fork")  # pyright: ignore[reportAttributeAccessIssue]
    shown = progress.PlainView.job

    def noted(view: progress.PlainView, name: str, phase: str, fraction: float) -> None:
        with (world / _PHASES).open("a", encoding="utf-8") as file:
            file.write(f"{phase}\n")
        shown(view, name, phase, fraction)

    progress.PlainView.job = noted
    artifacts.Artifacts.create = _noting(artifacts.Artifacts.create)
    os._exit(saetransfer(world, *RUN, *more).returncode)


def _noting(create: Callable[..., Any]) -> Callable[..., Any]:
    @contextmanager
    def noting(kept: artifacts.Artifacts, key: Mapping[str, Any]) -> Iterator[Path]:
        with create(kept, key) as folder:
            yield folder
        place = kept.folder(key)
        with (place.parents[1] / MADE).open("a", encoding="utf-8") as file:
            file.write(f"{place.name}\n")

    return noting


def phases_of(world: Path) -> list[str]:
    """The phases that the runs in a world have come to so far."""
    try:
        return (world / _PHASES).read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return []


def kill(process: BaseProcess) -> None:
    """Kill a driver, and wait until its workers, which notice that themselves, are gone too."""
    assert process.pid is not None
    workers = psutil.Process(process.pid).children(recursive=True) if process.is_alive() else []
    process.kill()
    process.join()
    _, living = psutil.wait_procs(workers, timeout=20)
    assert not living


def kill_a_worker(process: BaseProcess) -> None:
    """Kill one worker of a driver, if there is one now."""
    assert process.pid is not None
    with suppress(psutil.NoSuchProcess):  # it has just ended
        for worker in psutil.Process(process.pid).children()[:1]:
            worker.send_signal(signal.SIGKILL)


def wait_for(moment: Callable[[], bool], process: BaseProcess, seconds: float = 120.0) -> None:
    """Wait until the moment has come or the process has ended."""
    deadline = time.monotonic() + seconds
    while not moment() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)


@dataclass(frozen=True)
class Left:
    """What lies in a world's folder of records."""

    files: dict[str, bytes]
    records: dict[str, Record]

    @classmethod
    def of(cls, world: Path) -> Left:
        """Read it; every file that is there must be a whole record."""
        folder = world / "out"
        found = store.read_all([folder]) if folder.is_dir() else store.Records((), ())
        assert not found.problems
        names = {f"{record.labels.compressor}/{record.labels.sae}": record for record in found.records}
        return cls({path.name: path.read_bytes() for path in sorted(folder.glob("cells/*.json"))}, names)

    @property
    def figures(self) -> dict[str, Any]:
        """Everything of the records that must come out the same, to the bit, whenever they are made."""
        return {
            name: (record.cell_id, record.metrics, record.per_document, record.error)
            for name, record in self.records.items()
        }
