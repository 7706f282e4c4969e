"""`saetransfer compare`: new records against a baseline, as a table, as files, and as an exit code."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from ...leaderboard import store
from ...leaderboard.gate import annotations, baseline, junit, report, summary, terminal
from ...leaderboard.gate.compare import compare
from ...leaderboard.gate.gauge import Gauge
from ...leaderboard.gate.judging import Rules
from ...leaderboard.gate.verdict import Verdict
from ...leaderboard.record import Record
from ..console import console as make_console
from ..errors import UsageError
from ..measuring.definitions import gauges
from . import tolerances


@dataclass(frozen=True)
class CompareOptions:
    """What the command line says beside the two folders."""

    tolerances: Path | None = None
    tolerance: Sequence[str] = ()
    summary: Path | None = None
    comment: Path | None = None
    junit: Path | None = None
    json: Path | None = None
    write_baseline: Path | None = None


def run(base: Path, new: Path, options: CompareOptions) -> int:
    """Compare, report, and return the exit code."""
    old, fresh = store.read_all([base]), store.read_all([new])
    if old.problems:
        told = "; ".join(f"{problem.path}: {problem.message}" for problem in old.problems)
        raise UsageError(f"The baseline is damaged: {told}")
    for folder, found in ((base, old), (new, fresh)):
        if not found.records:
            raise UsageError(f"No records in {folder}. `run` writes them to its --out.")
    known = gauges()
    names = _names(known, (*old.records, *fresh.records))
    rules = Rules(known, tolerances.read(options.tolerances, options.tolerance, names))
    verdict = compare(old.records, fresh.records, rules)
    left_out = tuple(f"{problem.path} holds no record: {problem.message}" for problem in fresh.problems)
    verdict = replace(verdict, notes=(*verdict.notes, *left_out), cells_failed=verdict.cells_failed or bool(left_out))
    terminal.show(verdict, make_console())
    _write_reports(verdict, options)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        _annotate(verdict)
    if options.write_baseline is not None:
        _write_baseline(old.records, fresh.records, options.write_baseline)
    return verdict.exit_code


def _names(known: Mapping[str, Gauge], records: Sequence[Record]) -> Collection[str]:
    return known.keys() | {name for record in records for name in record.metrics}


def _write_reports(verdict: Verdict, options: CompareOptions) -> None:
    wanted = (
        (options.summary, summary.render),
        (options.comment, partial(summary.render, most_bytes=summary.COMMENT_BYTES)),
        (options.junit, junit.render),
        (options.json, report.render),
    )
    for path, render in wanted:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(render(verdict), encoding="utf-8")


def _annotate(verdict: Verdict) -> None:
    # GitHub reads whole lines: nothing may be wrapped or styled.
    console = Console(soft_wrap=True, color_system=None)
    for line in annotations.render(verdict):
        console.out(line, highlight=False)


def _write_baseline(base: Sequence[Record], new: Sequence[Record], folder: Path) -> None:
    records = baseline.successor(base, new)
    removed = baseline.write(records, folder)
    told = f", {removed} old ones taken out" if removed else ""
    Console(stderr=True).print(f"{len(records)} records -> {folder}{told}", markup=False, highlight=False)
