"""A run of seconds on the embedded model, in a folder of its own: dense and pruned, as any run does it."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ...leaderboard.record import Record
from ..planning import plan
from ..planning.suite import Data, Suite, SuiteFile
from ..running.executors import LocalExecutor
from ..running.run import Run, Settings
from ..running.todo import record_of, todo
from .progress import view

_LIMIT_SECONDS = 300.0
"""Far more than any machine needs: a state that takes longer hangs."""
_SUITE = Suite(
    name="self-test",
    models=["microworld"],
    compressors=["dense", "magnitude-50"],
    saes=["microworld-resid-2"],
    data=Data(text="microworld", tokens=1024, context=64),
)
_GAP = "perplexity.transfer_gap"
_EXPLAINED = "reconstruction.explained_variance"
_LEAST_EXPLAINED = 0.5
"""The SAE explains more of the dense model's activations than that, on any device."""


@dataclass(frozen=True)
class SelfTest:
    """How it went."""

    seconds: float
    problem: str | None
    """What is wrong, or None."""


def self_test(device: str) -> SelfTest:
    """Compress and measure on a device, in worker processes, and look whether the figures can be right."""
    source = SuiteFile(_SUITE, file=Path("self-test"), text="", folder=Path.cwd())
    planned = plan.make(source)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="saetransfer-doctor-") as name:
        folder = Path(name)
        settings = Settings(folder, folder / "cache", device, slots=1, threads=1, command="saetransfer doctor")
        work = todo(planned, folder, settings.cache, device, "all")
        with view(Console(quiet=True), work.n_cells) as shown:
            Run(source, planned, work, settings).run(shown, LocalExecutor(1, settings.logs, _LIMIT_SECONDS))
        records = [record_of(cell, folder) for cell in planned.cells]
    return SelfTest(time.monotonic() - start, next(filter(None, map(_problem, records)), None))


def _problem(record: Record | None) -> str | None:
    if record is None:
        return "a cell has no record"
    what = record.labels.compressor
    if record.error is not None:
        return f"{what} {record.status} in phase {record.error.phase}: {record.error.message}"
    gap, explained = record.metrics[_GAP].value, record.metrics[_EXPLAINED].value
    if gap is None or explained is None or not (math.isfinite(gap) and math.isfinite(explained)):
        return f"{what} has no figures"
    if what == plan.DENSE and gap != 0:
        return f"the dense state differs from itself: its transfer gap is {gap:g}"
    if what == plan.DENSE and explained < _LEAST_EXPLAINED:
        return f"the SAE explains {explained:.0%} of the dense model's activations, which is too little to be right"
    return None
