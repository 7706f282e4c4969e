"""The command `saetransfer run`: from a suite's name to the board, with the exit code."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch
from rich.console import Console
from rich.table import Table

from ...leaderboard import store
from ...leaderboard.boards import board, terminal
from ...registry import credentials
from ...registry.saes import lineage
from ...registry.saes.notes import notes
from ..cli import CELLS_FAILED, INTERRUPTED
from ..console import console as make_console
from ..errors import UsageError
from ..measuring.definitions import definitions
from ..planning import plan, suite
from ..running import artifacts, devices, executors
from ..running.executor import Executor
from ..running.executors import LocalExecutor
from ..running.interruption import Interrupted
from ..running.lock import only_run_in
from ..running.run import Run, Settings
from ..running.todo import Rerun, Todo, record_of, todo
from .names import shared
from .progress import view

_MODELS_HELD = 3
"""Model, activations and logits of a job at most, in sizes of the model: an estimate for how many jobs fit."""
_OTHERWISE_BYTES = 2**30


@dataclass(frozen=True)
class RunOptions:
    """Options of `saetransfer run`, as its help explains them."""

    out: Path | None
    only: str | None
    rerun: Rerun
    slots: int | None
    device: str | None
    overrides: tuple[str, ...]
    dry_run: bool
    timeout_seconds: float | None = None
    trusts_remote_code: bool = False


def run(name: str, options: RunOptions) -> int:
    """`saetransfer run`; returns the exit code."""
    console = make_console(terminal.WIDTH)
    source = suite.load(name, options.overrides, options.trusts_remote_code)
    if not options.dry_run:
        executors.warm_up()
    planned = _planned(source, options.only)
    folder = options.out or Path("runs") / store.slug(source.suite.name)
    cache = artifacts.default_folder()
    device = chosen_device(options.device)
    if options.dry_run:
        _show_plan(planned, todo(planned, folder, cache, device, options.rerun), folder, console)
        return 0
    with only_run_in(folder):
        work = todo(planned, folder, cache, device, options.rerun)
        settings = prepare(planned, work, folder, cache, device, options.slots)
        settings = replace(settings, timeout_seconds=options.timeout_seconds)
        executor = LocalExecutor(settings.slots, settings.logs, settings.timeout_seconds)
        if code := _ran(Run(source, planned, work, settings), executor, work, folder, console):
            return code
    return _conclude(planned, work.done, folder, console)


def _ran(run: Run, executor: Executor, work: Todo, folder: Path, console: Console) -> int:
    """Run what there is to do; an exit code where it stopped before the end, else 0."""
    try:
        if work.n_cells:
            with view(console, work.n_cells) as shown:
                run.run(shown, executor)
    except (Interrupted, KeyboardInterrupt) as error:
        said, code = (str(error), error.exit_code) if isinstance(error, Interrupted) else ("Interrupted.", INTERRUPTED)
    except OSError as error:
        said, code = f"The run stopped: {error.strerror or error}: {error.filename or folder}.", CELLS_FAILED
    else:
        return 0
    console.print(
        f"{said} What is done stays in {folder}; the same command goes on from there.", markup=False, highlight=False
    )
    return code


def prepare(
    planned: plan.Plan, work: Todo, folder: Path, cache: Path, device: str, slots: int | None = None
) -> Settings:
    """Clear away what killed runs have left, and decide how to run; `slots` where somebody says how many."""
    store.remove_stale_temporaries(folder)
    artifacts.sweep(cache)
    slots = slots or _slots(planned, work, device)
    threads = max(1, (os.cpu_count() or 1) // slots)
    command = credentials.scrub(shlex.join(["saetransfer", *sys.argv[1:]]))
    return Settings(folder, cache, device, slots, threads, command)


def _planned(source: suite.SuiteFile, only: str | None) -> plan.Plan:
    planned = plan.make(source)
    if only is None:
        return planned
    selected = plan.select(planned, only)
    if not selected.cells:
        raise UsageError(
            f"--only {only}: no cell of suite '{source.suite.name}' matches. Cells are called "
            f"MODEL/COMPRESSOR/SAE, for example {planned.cells[0].path}."
        )
    return selected


def _conclude(planned: plan.Plan, n_before: int, folder: Path, console: Console) -> int:
    records = [record for cell in planned.cells if (record := record_of(cell, folder)) is not None]
    terminal.show(board.build(records, definitions()), console)
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


def _slots(planned: plan.Plan, work: Todo, device: str) -> int:
    """States at a time, if nobody says: one a core, as far as half of the free memory carries them; one on each GPU.

    Where costs are asked for, one: states that share a processor would measure each other.
    """
    sizes = [state.model.weights_bytes for state in planned.states]
    if device != "cpu":
        return devices.states_at_a_time(device)
    if None in sizes or planned.cost is not None:
        return 1
    needed = max(_MODELS_HELD * (size or 0) + _OTHERWISE_BYTES for size in sizes)
    fitting = psutil.virtual_memory().available // 2 // needed
    return max(1, min(fitting, os.cpu_count() or 1, len({*work.cells, *work.prepare})))


def chosen_device(device: str | None) -> str:
    """The device to run on: the one asked for, or a GPU where there is one.

    Raises:
        UsageError: no such device here.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise UsageError(f"--device {device}: no such device. Allowed: cpu, cuda, cuda:0, cuda:1, ...") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: PyTorch sees no CUDA here. Leave the option out to run on the CPU.")
    if kind == "cuda" and (torch.device(device).index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {device}: PyTorch sees {torch.cuda.device_count()} GPUs here, from cuda:0 on.")
    return device


def _show_plan(planned: plan.Plan, work: Todo, folder: Path, console: Console) -> None:
    """What a run would do: states with their cells, and what each costs in tokens."""
    data = planned.suite.data
    table = Table("state", "cells", "to do", "calibration", "SAEs to train (tokens)", box=None, pad_edge=False)
    for state in planned.states:
        open_cells = work.cells.get(state.name, [])
        trained = [
            (ancestor.name, getattr(ancestor.params, "tokens", 0))
            for cell in open_cells
            for ancestor in lineage.ancestors(cell.sae)
            if ancestor.reads == "training" and (ancestor.depends_on_state or state.is_dense)
        ]
        calibration = f"{data.calibration.sequences} sequences" if state.compressor.needs_calibration else "-"
        training = ", ".join(f"{names} ({tokens:,})" for names, tokens in shared(trained)) or "-"
        table.add_row(state.name, str(len(state.cells)), str(len(open_cells)), calibration, training)
    console.print(f"Suite {planned.suite.name}: {len(planned.states)} states, {len(planned.cells)} cells", style="bold")
    console.print(table)
    n_states = len(work.cells)
    n_sites = len({(cell.labels.model, cell.sae.site) for cells in work.cells.values() for cell in cells})
    console.print(
        f"To do: {work.n_cells} cells ({work.done} are done) on {data.tokens:,} tokens each: {n_states} passes of "
        f"a model, {work.n_cells} replays for SAEs, at most {2 * n_sites * n_states} for ablations. Records: {folder}",
        highlight=False,
    )
    read_otherwise = (
        (cell.labels.sae, note) for cell in planned.cells for note in notes(cell.sae, data.context, cell.prepend_bos)
    )
    for names, note in shared(read_otherwise):
        console.print(f"SAE {names}: {note}.", highlight=False)
