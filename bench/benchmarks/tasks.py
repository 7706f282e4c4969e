"""What all tasks but downstream cost beside reconstruction and perplexity, in time and with the length of the text.

The demo suite is run as a user runs it, each time with a cache of its own, so that SAEs are trained and everything is
computed anew: wall time of the whole command, the start of the interpreter included. Orders alternate.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from ...leaderboard import store

_COMMAND = "from saetransfer.bench.cli import main; main()"
_ROUNDS = 2
_BASE = ["reconstruction", "perplexity"]
_ALL = [*_BASE, "overlap", "probing", "perturbation", {"name": "absorption", "min_letters": 4}]
_PROBING = [
    {"card": "microworld", "attributes": ["mood", "tense", "topic"], "train_examples": 300, "test_examples": 200}
]
_TOKENS = (16_384, 163_840)


def section() -> str:
    """Both tables."""
    return f"{_times()}\n\n{_memory()}"


def _times() -> str:
    seconds: dict[str, list[float]] = {"base": [], "all": []}
    for number in range(_ROUNDS):
        for name in ("base", "all") if number % 2 == 0 else ("all", "base"):
            seconds[name].append(_run("demo", _BASE if name == "base" else _ALL)[0])
    base, everything = median(seconds["base"]), median(seconds["all"])
    rows = [
        "| tasks of `saetransfer run demo` | time | ratio |",
        "| --- | ---: | ---: |",
        f"| reconstruction, perplexity | {base:.0f} s | 1.0 |",
        f"| all but downstream | {everything:.0f} s | {everything / base:.2f} |",
    ]
    return f"Medians of {_ROUNDS} runs each, SAEs trained anew.\n\n" + "\n".join(rows)


def _memory() -> str:
    peaks = [_run("ci", _ALL, tokens)[1] for tokens in _TOKENS]
    rows = ["| tokens of the text | peak memory of a state's process |", "| ---: | ---: |"]
    rows += [f"| {tokens:,} | {peak / 1e6:.0f} MB |" for tokens, peak in zip(_TOKENS, peaks, strict=True)]
    return "All tasks but downstream on the suite `ci`, the highest of all phases.\n\n" + "\n".join(rows)


def _run(suite: str, tasks: Sequence[object], tokens: int | None = None) -> tuple[float, int]:
    """Seconds of a run, and the highest peak of resident memory in any phase of any cell, in bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-c", _COMMAND, "run", suite, "--out", str(folder / "out")]
        command += ["--set", f"tasks={json.dumps(tasks)}", "--set", f"data.probing={json.dumps(_PROBING)}"]
        command += [] if tokens is None else ["--set", f"data.tokens={tokens}"]
        start = time.perf_counter()
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "SAETRANSFER_CACHE": str(folder / "cache")},
        )
        seconds = time.perf_counter() - start
        records = store.read_all([folder / "out"]).records
        return seconds, max(phase.peak_rss_bytes or 0 for record in records for phase in record.phases)
