"""What becomes of a run when something goes wrong around it: signals, locks, time, memory, disks, files that change."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from saetransfer.bench.commands import progress
from saetransfer.bench.planning import plan, suite
from saetransfer.bench.running import executors, lock, memory, state
from saetransfer.bench.running.job import DenseResults, Job, JobDone, JobLost
from saetransfer.leaderboard import store
from saetransfer.leaderboard.record import Record
from tests.bench.command import saetransfer
from tests.bench.world import write_suite

TOKEN = "hf_" + "a" * 34

USERS = f"""
import time
def hangs(model, calibration): time.sleep(600)
def tells(model, calibration):
    print("the token is", "{TOKEN}", flush=True)
    raise ValueError("refused: https://me:{TOKEN}@host/x")
"""


def suite_of(world: Path, *functions: str) -> None:
    (world / "mine.py").write_text(USERS, encoding="utf-8")
    write_suite(world, compressors=["dense", *({"name": name, "method": f"mine.py:{name}"} for name in functions)])


def errors(world: Path) -> dict[str, Any]:
    found = store.read_all([world / "out"])
    assert not found.problems
    return {f"{record.labels.compressor}/{record.labels.sae}": record.error for record in found.records}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_run_which_says_how_to_go_on(
    world: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def send(self: object, name: str, phase: str, fraction: float) -> None:
        if phase == "compress":
            os.kill(os.getpid(), number)

    monkeypatch.setattr(progress.PlainView, "job", send)
    suite_of(world, "hangs")
    run = saetransfer(world, "run", "suite.yaml", "--out", "out", "--jobs", "1")
    assert run.returncode == 128 + number
    assert number.name in run.stdout
    assert "the same command goes on from there" in run.stdout
    assert errors(world) == {"dense/frozen": None, "dense/random": None}  # what hung has no record: it was no failure
    assert signal.getsignal(number) is not signal.SIG_IGN


def test_a_state_that_hangs_is_ended_and_credentials_are_written_nowhere(world: Path) -> None:
    suite_of(world, "hangs", "tells")
    assert saetransfer(world, "run", "suite.yaml", "--out", "out", "--only", "*/dense/*").returncode == 0
    hung = saetransfer(world, "run", "suite.yaml", "--out", "out", "--only", "*/hangs/*", "--timeout", "2")
    assert hung.returncode == 3
    assert errors(world)["hangs/frozen"].type == "Timeout"

    told = saetransfer(world, "run", "suite.yaml", "--out", "out", "--only", "*/tells/*")
    assert TOKEN not in told.stdout
    assert errors(world)["tells/frozen"].message == "refused: https://***@host/x"
    assert "the token is ***" in (world / "out" / "logs" / "toy__tells.log").read_text(encoding="utf-8")
    for file in (world / "out").rglob("*.*"):
        assert TOKEN.encode() not in file.read_bytes(), file


def test_two_runs_do_not_write_to_one_folder(world: Path) -> None:
    write_suite(world)
    with lock.only_run_in(world / "out"):
        second = saetransfer(world, "run", "suite.yaml", "--out", "out")
    assert second.returncode == 2
    assert f"Another run is at work in out (process {os.getpid()} on" in second.stderr


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("", encoding="utf-8")
    (tmp_path / ".lock-owner.json").write_text('{"pid": 999999, "host": "h", "since": "s"}', encoding="utf-8")
    with lock.only_run_in(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock-owner.json").read_text(encoding="utf-8")
    with lock.only_run_in(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_a_users_mistake(world: Path) -> None:
    write_suite(world)
    run = saetransfer(world, "run", "suite.yaml", "--out", "stories.txt/out")
    assert run.returncode == 2
    assert "cannot be written to stories.txt/out" in run.stderr


def test_a_full_disk_ends_the_run_and_loses_nothing(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = store.write

    def full(record: Record, folder: Path) -> Path:
        if record.labels.sae == "random":
            raise OSError(errno.ENOSPC, "No space left on device", str(folder))
        return write(record, folder)

    monkeypatch.setattr(store, "write", full)
    write_suite(world)
    run = saetransfer(world, "run", "suite.yaml", "--out", "out", "--only", "*/dense/*")
    assert run.returncode == 3
    assert "No space left on device" in run.stdout
    assert "the same command goes on from there" in run.stdout
    assert errors(world) == {"dense/frozen": None}


def job(world: Path) -> Job:
    source = suite.load(str(world / "suite.yaml"))
    dense = plan.make(source).states[0]
    ids = {cell.labels.sae: cell.cell_id for cell in dense.cells}
    return Job(source, "toy", "dense", tuple(ids), cache=world / "cache", cell_ids=ids)


@pytest.mark.parametrize(("change", "kind"), [(True, "InputsChanged"), (False, "UsageError")])
def test_files_that_change_or_vanish_while_a_run_goes_on_are_noticed(world: Path, change: bool, kind: str) -> None:
    write_suite(world)
    planned = job(world)
    stories = (world / "stories.txt").read_text(encoding="utf-8")
    (world / "stories.txt").unlink()
    if change:
        (world / "stories.txt").write_text(stories + "\n\nw1 w2 w3", encoding="utf-8")
    end = state.run(planned, lambda event: None, DenseResults)
    assert isinstance(end, JobLost)
    assert end.type == kind
    assert "stories.txt" in end.message or "was written meanwhile" in end.message


def test_a_state_as_planned_ends_well(world: Path) -> None:
    write_suite(world)
    assert state.run(job(world), lambda event: None, DenseResults) == JobDone()


def test_memory_that_runs_out_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as real:
        torch.empty(2**60, dtype=torch.uint8)
    assert memory.ran_out(real.value)
    wrapped = ValueError("it did not work")
    wrapped.__cause__ = real.value
    assert memory.ran_out(wrapped)
    assert memory.ran_out(torch.OutOfMemoryError("CUDA out of memory."))
    assert memory.ran_out(MemoryError())
    assert not memory.ran_out(RuntimeError("shapes do not fit"))


@pytest.mark.parametrize(
    ("exit_code", "for_memory", "kind", "said"),
    [
        (-signal.SIGKILL, True, "OutOfMemory", "The kernel killed the worker"),
        (-signal.SIGKILL, False, "WorkerCrashed", "signal 9"),
        (-signal.SIGSEGV, False, "WorkerCrashed", "SIGSEGV"),
        (-signal.SIGBUS, False, "WorkerCrashed", "disk was full"),
        (1, False, "WorkerCrashed", "exit code 1"),
    ],
)
def test_the_end_of_a_worker_is_explained(exit_code: int, for_memory: bool, kind: str, said: str) -> None:
    lost = executors.crash(exit_code, for_memory)
    assert lost.type == kind
    assert said in lost.message
