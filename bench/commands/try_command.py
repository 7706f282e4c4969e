"""The command `saetransfer try`: one compressor on the embedded model, in seconds, beside some that are well known.

It is a run like any other, of a suite that stands in no file. Records of the compressors it is compared with are kept
in the cache, for as long as nothing of the environment changes; the one that is tried is measured anew each time, since
what its file imports is no part of its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ...leaderboard import store
from ...leaderboard.record import Record
from ...registry.compressors import shelf
from ...registry.compressors.method import Compressor
from ..cli import CELLS_FAILED
from ..console import console
from ..errors import UsageError
from ..planning import plan
from ..planning.grid import DENSE
from ..planning.suite import Data, Definition, Suite, SuiteFile
from ..running import artifacts, environment
from ..running.artifacts import Artifacts
from ..running.executors import LocalExecutor
from ..running.places import Here
from ..running.run import Run
from ..running.todo import record_of, todo
from . import run_command, try_report
from .overrides import apply
from .progress import view

REFERENCES = ("magnitude-50", "wanda-50", "rtn-4", "rtn-3")
"""What a compressor is shown beside: two ways to prune, two strengths of rounding."""
_MODEL = "microworld"
_SAE = "microworld-resid-2"
_DATA = Data(text="microworld", tokens=4_096, context=128)
_KEYS_OF_SUITES = ("method", "chain")


def run(what: str, overrides: Sequence[str]) -> int:
    """`saetransfer try`; returns the exit code."""
    definition = _definition(what, overrides)
    own = shelf.resolve(definition, Path.cwd(), {})
    if not own.steps:
        raise UsageError(f"'{what}' leaves the model as it is: there is nothing to try.")
    *others, record = _measured(_suite(definition, own))
    try_report.show(record, others, own, definition, console())
    return 0 if record.error is None else CELLS_FAILED


def _definition(what: str, overrides: Sequence[str]) -> Definition:
    """The compressor as a suite would write it."""
    params: dict[str, Any] = {}
    for override in overrides:
        apply(params, override)
    for key in _KEYS_OF_SUITES:
        if key in params:
            raise UsageError(f"--set {key}=...: '{key}' is no parameter. To try another compressor, name it first.")
    if params and what in shelf.cards():
        method = shelf.cards()[what].method
        raise UsageError(f"'{what}' has its parameters. With others: saetransfer try {method} --set {overrides[0]}")
    if not params and ".py" not in what:
        return what
    return {"name": what.rpartition(":")[2], "method": what, **params}


def _suite(definition: Definition, own: Compressor) -> SuiteFile:
    others = [name for name in (DENSE, *REFERENCES) if name != own.name]
    compressors: list[Definition] = [*others, definition]
    suite = Suite(name="try", models=[_MODEL], compressors=compressors, saes=[_SAE], data=_DATA)
    return SuiteFile(suite, file=Path("try"), text="", folder=Path.cwd())


def _measured(source: SuiteFile) -> list[Record]:
    """The records of all compressors, in the order of the suite: the one that is tried comes last."""
    planned = plan.make(source)
    cache, device = artifacts.default_folder(), run_command.chosen_device(None)
    kept = Artifacts(cache).folder({"kind": "try", "environment": environment.describe(device)})
    own = planned.cells[-1]
    store.cell_path(kept, own.labels, own.cell_id).unlink(missing_ok=True)
    work = todo(planned, kept, cache, device, "failed")
    settings = run_command.prepare(Here(device), planned, work, kept, cache)
    with view(Console(stderr=True), work.n_cells) as shown:
        Run(source, planned, work, settings).run(shown, LocalExecutor(settings.slots, settings.logs))
    return [record for cell in planned.cells if (record := record_of(cell, kept)) is not None]
