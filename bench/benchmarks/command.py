"""A run as a user runs it, for benchmarks: the command line, in a process and a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...leaderboard import store

_COMMAND = "from saetransfer.bench.cli import main; main()"


def run(suite: str, folder: Path, settings: Mapping[str, object] | None = None, options: Sequence[str] = ()) -> float:
    """Seconds of `saetransfer run`, the start of the interpreter included; records go to `folder`/out.

    Args:
        folder: with the cache of the run.
        settings: for `--set`.
        options: more of the command line.

    Raises:
        subprocess.CalledProcessError: the run failed.
    """
    command = [sys.executable, "-c", _COMMAND, "run", suite, "--out", str(folder / "out"), *options]
    for key, value in (settings or {}).items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    start = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "SAETRANSFER_CACHE": str(folder / "cache")}
    )
    return time.perf_counter() - start


def peak_bytes(folder: Path) -> dict[str, int]:
    """The highest peak of resident memory in any phase of each state, in bytes."""
    peaks: dict[str, int] = {}
    for record in store.read_all([folder / "out"]).records:
        phases = [phase.peak_rss_bytes or 0 for phase in record.phases]
        state = record.labels.compressor
        peaks[state] = max(peaks.get(state, 0), *phases)
    return peaks
