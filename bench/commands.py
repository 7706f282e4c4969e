"""What the commands do."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from ..leaderboard import boards, markdown, store, terminal
from ..leaderboard.columns import Definition
from ..leaderboard.record import Record
from ..tasks import shelf as tasks
from . import artifacts, plan, suite
from .cli import CELLS_FAILED, INTERRUPTED
from .errors import UsageError
from .progress import view
from .plan import lineage
from .run import Rerun, Run, Settings, Todo, record_of, todo


def run(
    name: str,
    *,
    out: Path | None,
    only: str | None,
    rerun: Rerun,
    slots: int,
    device: str | None,
    overrides: Sequence[str],
    dry_run: bool,
) -> int:
    """`saetransfer run`; returns the exit code."""
    console = Console()
    source = suite.load(name, overrides)
    planned = plan.make(source)
    if only is not None:
        planned = plan.select(planned, only)
        if not planned.cells:
            example = plan.make(source).cells[0].path
            raise UsageError(
                f"--only {only}: no cell of suite '{source.suite.name}' matches. Cells are called MODEL/COMPRESSOR/SAE, "
                f"for example {example}."
            )
    folder = out or Path("runs") / store.slug(source.suite.name)
    cache = artifacts.default_folder()
    chosen = _device(device)
    work = todo(planned, folder, cache, rerun)
    if dry_run:
        _show_plan(planned, work, folder, console)
        return 0
    store.remove_stale_temporaries(folder)
    threads = max(1, (os.cpu_count() or 1) // slots)
    settings = Settings(folder, cache, chosen, slots, threads, shlex.join(["saetransfer", *sys.argv[1:]]))
    try:
        if work.n_cells:
            with view(console, work.n_cells) as shown:
                Run(source, planned, work, settings).run(shown)
    except KeyboardInterrupt:
        console.print(f"Interrupted. What is done stays in {folder}; the same command goes on from there.")
        return INTERRUPTED
    return _conclude(planned, work.done, folder, console)


def _conclude(planned: plan.Plan, n_before: int, folder: Path, console: Console) -> int:
    records = [record for cell in planned.cells if (record := record_of(cell, folder)) is not None]
    terminal.show(boards.build(records, definitions()), console)
    failed = [record for record in records if record.status == "failed"]
    skipped = [record for record in records if record.status == "skipped"]
    parts = [f"{len(records) - len(failed) - len(skipped)} ok"]
    parts += [f"{len(failed)} failed"] if failed else []
    parts += [f"{len(skipped)} skipped"] if skipped else []
    before = f" ({n_before} were there before)" if n_before else ""
    console.print(f"{len(records)} cells: {', '.join(parts)}{before}. Records: {folder}", highlight=False)
    if failed or skipped:
        console.print("To try those without figures again: --rerun failed", highlight=False)
    return CELLS_FAILED if failed else 0


def _device(device: str | None) -> str:
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise UsageError(f"--device {device}: no such device. Allowed: cpu, cuda, cuda:0, cuda:1, ...") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: PyTorch sees no CUDA here. Leave the option out to run on the CPU.")
    return device


def definitions() -> dict[str, Definition]:
    """What boards say about metrics."""
    return {
        name: Definition(metric.unit, metric.higher_is_better, metric.definition)
        for name, metric in tasks.metrics().items()
    }


def leaderboard(folders: Sequence[Path], out: Path) -> None:
    """`saetransfer leaderboard`."""
    console = Console(stderr=True)
    found = store.read_all(folders)
    for problem in found.problems:
        console.print(f"left out: {problem.path}: {problem.message}", style="yellow", markup=False, highlight=False)
    if not found.records:
        raise UsageError(f"No records in {', '.join(str(folder) for folder in folders)}. `run` writes them to its --out.")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(markdown.render(found.records, definitions()), encoding="utf-8")
    console.print(f"{len(found.records)} cells -> {out}", highlight=False)


def show(path: Path) -> None:
    """`saetransfer show`."""
    console = Console()
    record = store.read(path)
    labels = record.labels
    title = f"{labels.model} / {labels.compressor} / {labels.sae} ({labels.sae_source}) at {record.spec.site}"
    console.print(title, style="bold", markup=False, highlight=False)
    if record.error is not None:
        console.print(f"{record.status} in phase {record.error.phase}: {record.error.message}", style="yellow", markup=False)
        if record.error.traceback:
            console.print(record.error.traceback, markup=False, highlight=False)
    if record.compression:
        console.print(_compression(record), markup=False, highlight=False)
    if record.metrics:
        console.print(_figures(record))
    seconds = ", ".join(f"{phase.name} {phase.seconds:.1f} s" for phase in record.phases)
    console.print(f"{seconds or 'no phases'}; cell {record.cell_id}, {record.created_at}", style="dim", highlight=False)


def _compression(record: Record) -> str:
    facts = record.compression or {}
    size = facts["bytes"]
    return (
        f"{facts['target_matrices']} matrices, {facts['sparsity']:.1%} zeros, {facts['effective_bits']:.2f} bits a weight, "
        f"weight error {facts['weight_error'] or 0.0:.3f}; bytes: dense {size['dense']:,}, as stored {size['actual']:,}, "
        f"in theory {size['theoretical']:,}"
    )


def _figures(record: Record) -> Table:
    known = tasks.metrics()
    table = Table("metric", "value", "95 % interval", "n", "what it is", box=None, pad_edge=False)
    for name, figure in record.metrics.items():
        value = "-" if figure.value is None else f"{figure.value:.5g} {'' if figure.unit == '1' else figure.unit}"
        interval = "-" if figure.ci is None else f"{figure.ci[0]:.4g} to {figure.ci[1]:.4g}"
        meaning = known[name].definition if name in known else ""
        if figure.value is None:
            meaning = f"no value: {figure.reason}"
        table.add_row(name, value, interval, str(figure.n or "-"), meaning)
    return table


def _show_plan(planned: plan.Plan, work: Todo, folder: Path, console: Console) -> None:
    """What a run would do: states with their cells, and what each costs in tokens."""
    data = planned.suite.data
    table = Table("state", "cells", "to do", "calibration", "SAEs to train (tokens)", box=None, pad_edge=False)
    for state in planned.states:
        open_cells = work.cells.get(state.name, [])
        trained = {
            ancestor.name: getattr(ancestor.params, "tokens", None)
            for cell in open_cells
            for ancestor in lineage(cell.sae)
            if ancestor.source == "trained" and (ancestor.depends_on_state or state.is_dense)
        }
        calibration = f"{data.calibration.sequences} sequences" if state.compressor.needs_calibration else "-"
        training = ", ".join(f"{name} ({tokens:,})" for name, tokens in trained.items()) or "-"
        table.add_row(state.name, str(len(state.cells)), str(len(open_cells)), calibration, training)
    console.print(f"Suite {planned.suite.name}: {len(planned.states)} states, {len(planned.cells)} cells", style="bold")
    console.print(table)
    n_states = len(work.cells)
    n_sites = len({(cell.labels.model, cell.sae.site) for cells in work.cells.values() for cell in cells})
    console.print(
        f"To do: {work.n_cells} cells ({work.done} are done) on {data.tokens:,} tokens each: {n_states} passes of a model, "
        f"{work.n_cells} replays for SAEs and {2 * n_sites * n_states} for ablations at most. Records: {folder}",
        highlight=False,
    )
