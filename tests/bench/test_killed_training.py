"""A training that is killed from outside, by a signal that nothing can catch, and started again by the same command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from saetransfer.registry.saes.checkpoint import Checkpoints
from tests.bench.command import saetransfer

TRAIN = (
    "sae", "train", "model", "--site", "blocks.1.hook_resid_post", "--architecture", "batchtopk", "--d-sae", "48",
    "--set", "k=4", "--set", "tokens=20_000", "--set", "batch_size=64", "--text", "stories.txt", "--context", "24",
    "--out", "mine",
)  # fmt: skip
OFTEN = """
import sys
from functools import partial
from saetransfer.bench import cli
from saetransfer.bench.running import sae_supply
sae_supply.Checkpoints = partial(sae_supply.Checkpoints, every_seconds=0.0)
cli.main()
"""
"""The command line, but for a checkpoint after every batch of text instead of every five minutes."""


def checkpoint_tokens(world: Path) -> int:
    """How far the newest checkpoint in the cache is."""
    # Folders of the cache come and go meanwhile: only those that hold checkpoints are looked into.
    found = [int(folder.name.removeprefix("at-")) for folder in (world / "cache").glob("checkpoints/*/at-*")]
    return max(found, default=0)


def kill_a_training(world: Path) -> int:
    """Start it, kill it once it has written another checkpoint, and say how far that one is."""
    before = checkpoint_tokens(world)
    environment = {**os.environ, "SAETRANSFER_CACHE": str(world / "cache")}
    training = subprocess.Popen([sys.executable, "-c", OFTEN, *TRAIN], cwd=world, env=environment)
    deadline = time.monotonic() + 240
    while checkpoint_tokens(world) <= before and training.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    training.send_signal(signal.SIGKILL)
    assert training.wait() == -signal.SIGKILL, "it was done before it could be killed"
    return checkpoint_tokens(world)


@pytest.mark.slow
def test_an_sae_whose_training_was_killed_is_the_same_to_the_bit(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kill_a_training(world)
    second = kill_a_training(world)
    assert 0 < first < second < 20_000
    assert not (world / "mine").exists()

    resumed: list[int] = []
    resume = Checkpoints.resume
    monkeypatch.setattr(Checkpoints, "resume", lambda *found: resumed.append(resume(*found)) or resumed[-1])
    finished = saetransfer(world, *TRAIN)
    assert finished.returncode == 0, finished.stderr
    assert resumed == [second]
    assert not checkpoint_tokens(world), "what is done needs no checkpoint"

    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    for part in ("model", "stories.txt"):
        (undisturbed / part).symlink_to(world / part)
    assert saetransfer(undisturbed, *TRAIN).returncode == 0
    assert resumed == [second, 0]
    for file in ("cfg.json", "sae_weights.safetensors"):
        assert (world / "mine" / file).read_bytes() == (undisturbed / "mine" / file).read_bytes()
