"""Runs that are killed, at any moment of any phase: what is done stays, and the next run does only what is missing."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from saetransfer.bench.running.artifacts import KEY_FILE
from saetransfer.registry.files import is_whole
from tests.bench.driving import MADE, Left, drive, kill, kill_a_worker, phases_of, wait_for
from tests.bench.world import write_suite

N_KILLS = 50
LATEST_SECONDS = 0.2
"""After the beginning of a phase: about as long as most take."""
N_TRIES = 10
"""To kill a run in a phase of a few milliseconds: the signal may come too late."""
N_WORKERS_KILLED = 10
N_AT_ONCE = 8
SAES = [
    {"name": "frozen", "source": "pretrained", "path": "sae"},
    {
        "name": "native", "source": "trained", "on": "state", "site": "blocks.0.hook_mlp_out", "architecture": "topk",
        "d_sae": 64, "k": 4, "tokens": 600,
    },
]  # fmt: skip
COMPRESSORS = ["dense", "magnitude-50", "wanda-50"]


@dataclass(frozen=True)
class Undisturbed:
    """What a run that nobody disturbs leaves, and the phases that it goes through."""

    left: Left
    phases: list[str]


@pytest.fixture(scope="module")
def reference(shared_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    world = copy_of(shared_world, tmp_path_factory.mktemp("undisturbed"))
    complete(world)
    left = Left.of(world)
    assert len(left.records) == len(SAES) * len(COMPRESSORS)
    return Undisturbed(left, phases_of(world))


class Moment:
    """So long after a run has come to its n-th phase; 0 is before the first."""

    def __init__(self, world: Path, n_phases: int, seconds: float) -> None:
        self._world, self._n_phases, self._seconds = world, n_phases, seconds
        self._reached: float | None = None

    def __call__(self) -> bool:
        if self._reached is None and len(phases_of(self._world)) >= self._n_phases:
            self._reached = time.monotonic()
        return self._reached is not None and time.monotonic() >= self._reached + self._seconds


def copy_of(world: Path, folder: Path) -> Path:
    for part in ("model", "sae", "stories.txt"):
        (folder / part).symlink_to(world / part)
    data = {"text": "stories.txt", "tokens": 300, "context": 24, "calibration": {"sequences": 8}}
    write_suite(folder, saes=SAES, compressors=COMPRESSORS, data=data)
    return folder


def complete(world: Path, *more: str) -> None:
    process = drive(world, "--jobs", "1", *more)
    process.join(300)
    assert process.exitcode == 0


def check_what_is_left(world: Path, expected: Left) -> None:
    """Records are whole and as they must be; the next run completes them, and touches none that were done."""
    left = Left.of(world)
    assert left.figures.items() <= expected.figures.items()
    for key in (world / "cache").glob(f"*/*/{KEY_FILE}"):
        assert is_whole(key.parent)
    complete(world)
    after = Left.of(world)
    assert after.figures == expected.figures
    assert {name: after.files[name] for name in left.files} == left.files  # states that were done are not done again
    assert not list((world / "out").rglob("*.tmp"))


def killed(world: Path, moment: Callable[[], bool]) -> str | None:
    """Kill a run when the moment has come; the phase that it was in."""
    process = drive(world, "--jobs", "1")
    wait_for(moment, process)
    kill(process)
    return (phases_of(world) or [None])[-1]


@pytest.mark.parametrize("phase", ["compress", "saes"])
def test_a_run_killed_in_a_phase_is_completed_by_the_next(
    shared_world: Path, tmp_path: Path, reference: Undisturbed, phase: str
) -> None:
    for world in (tmp_path / str(number) for number in range(N_TRIES)):
        world.mkdir()
        copy_of(shared_world, world)
        if killed(world, partial(_is_in, world, phase)) == phase:
            check_what_is_left(world, reference.left)
            return
    pytest.fail(f"the phase {phase} was over each time when the signal came")


def _is_in(world: Path, phase: str) -> bool:
    return phases_of(world)[-1:] == [phase]


@pytest.mark.slow
def test_a_run_killed_at_fifty_random_moments_loses_nothing(
    shared_world: Path, reference: Undisturbed, tmp_path: Path
) -> None:
    """At a random time after each phase of each state has begun, in turn."""
    assert {"load", "compress", "read", "saes", "measure"} <= set(reference.phases)
    assert len(reference.phases) < N_KILLS
    moments = random.Random(0)
    for number in range(N_KILLS):
        world = tmp_path / str(number)
        world.mkdir()
        copy_of(shared_world, world)
        n_phases = number % (len(reference.phases) + 1)
        killed(world, Moment(world, n_phases, moments.uniform(0.0, LATEST_SECONDS)))
        check_what_is_left(world, reference.left)
        shutil.rmtree(world)


@pytest.mark.slow
def test_a_run_may_be_killed_again_and_again(shared_world: Path, reference: Undisturbed, tmp_path: Path) -> None:
    moments = random.Random(2)
    copy_of(shared_world, tmp_path)
    for _ in range(12):
        before = len(phases_of(tmp_path))
        killed(tmp_path, Moment(tmp_path, before + moments.randint(0, 5), moments.uniform(0.0, LATEST_SECONDS)))
    check_what_is_left(tmp_path, reference.left)


@pytest.mark.slow
def test_eight_runs_at_once_share_a_cache_in_which_each_artifact_is_made_once(
    shared_world: Path, reference: Undisturbed, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    worlds = [tmp_path / str(number) for number in range(N_AT_ONCE)]
    for world in worlds:
        world.mkdir()
        copy_of(shared_world, world)
        (world / "cache").symlink_to(cache)
    processes = [drive(world, "--jobs", "1") for world in worlds]
    for world, process in zip(worlds, processes, strict=True):
        process.join(900)
        assert process.exitcode == 0
        assert Left.of(world).figures == reference.left.figures
    made = (cache / MADE).read_text(encoding="utf-8").split()
    assert len(made) == len(set(made)) == len(list(cache.glob(f"*/*/{KEY_FILE}"))) > len(COMPRESSORS)
    assert all(is_whole(key.parent) for key in cache.glob(f"*/*/{KEY_FILE}"))


@pytest.mark.slow
def test_workers_killed_at_random_moments_cost_their_state_alone(
    shared_world: Path, reference: Undisturbed, tmp_path: Path
) -> None:
    moments = random.Random(1)
    for number in range(N_WORKERS_KILLED):
        world = tmp_path / str(number)
        world.mkdir()
        copy_of(shared_world, world)
        process = drive(world, "--jobs", "2")
        n_phases = moments.randint(1, len(reference.phases))
        wait_for(Moment(world, n_phases, moments.uniform(0.0, LATEST_SECONDS)), process)
        kill_a_worker(process)
        process.join(300)
        failed = {name: record for name, record in Left.of(world).records.items() if record.error is not None}
        assert process.exitcode == (3 if failed else 0)
        for record in failed.values():
            assert record.error is not None
            assert "killed" in record.error.message or "dense" in record.error.message
        complete(world, "--rerun", "failed")
        assert Left.of(world).figures == reference.left.figures
