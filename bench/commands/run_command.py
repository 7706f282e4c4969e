"""The command `saetransfer run`: from a suite's name to the board, with the exit code."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from ...leaderboard import store
from ...leaderboard.boards import terminal
from ...registry import credentials
from ..cli import CELLS_FAILED, INTERRUPTED
from ..console import console as make_console
from ..errors import UsageError
from ..measuring.definitions import definitions
from ..planning import grid, plan, selection, suite
from ..running import artifacts, finished
from ..running.executor import Executor
from ..running.interruption import Interrupted
from ..running.lock import only_run_in
from ..running.places import Here, Layout, Place
from ..running.run import Run, Settings
from ..running.todo import Todo, record_of, todo
from .conclusion import conclude
from .plan_table import PlanTable
from .progress import view
from .run_options import RunOptions


def run(name: str, options: RunOptions) -> int:
    """`saetransfer run`; returns the exit code.

    With Ray, this process is the driver of a cluster already.
    """
    console = make_console(terminal.WIDTH)
    place = _place(options)
    source = suite.load(name, options.overrides, options.trusts_remote_code)
    planned = _planned(source, options.only)
    folder = options.folder(source.suite.name)
    cache = artifacts.default_folder()
    if options.dry_run:
        work = todo(planned, folder, cache, place.device, options.rerun)
        layout = _layout(place, planned, work, options.slots)
        PlanTable(planned, work, folder, console).show(place, layout, cache)
        return 0
    with only_run_in(folder):
        store.remove_stale_temporaries(folder, 0.0)  # no other run writes here now, so that all of them are stale
        work = todo(planned, folder, cache, place.device, options.rerun)
        settings = prepare(place, planned, work, folder, cache, options.slots)
        settings = replace(settings, timeout_seconds=options.timeout_seconds)
        if work.n_cells:
            executor = place.executor(source, settings, options.slots)
            if code := _ran(Run(source, planned, work, settings), executor, work.n_cells, folder, console):
                return code
    records = [record for cell in planned.cells if (record := record_of(cell, folder)) is not None]
    known = definitions()
    if len(records) == len(planned.cells) and (not work.n_cells or all(record.status == "ok" for record in records)):
        finished.mark(folder, source, options.only, records, known)
    return conclude(records, known, work.done, folder, console)


def _place(options: RunOptions) -> Place:
    """Where to run: this machine or a Ray cluster."""
    if options.executor == "local":
        return Here(chosen_device(options.device))
    from ..running.cluster.place import on_ray

    return on_ray(options.device)


def _ran(run: Run, executor: Executor, n_cells: int, folder: Path, console: Console) -> int:
    """Run what there is to do; an exit code where it stopped before the end, else 0."""
    try:
        with view(console, n_cells) as shown:
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
    place: Place, planned: grid.Plan, work: Todo, folder: Path, cache: Path, slots: int | None = None
) -> Settings:
    """Clear away what killed runs have left, and decide how to run; `slots` where somebody says how many."""
    store.remove_stale_temporaries(folder)
    artifacts.sweep(cache)
    layout = _layout(place, planned, work, slots)
    command = credentials.scrub(shlex.join(["saetransfer", *sys.argv[1:]]))
    return Settings(folder, cache, place.device, layout.slots, layout.threads, command)


def _layout(place: Place, planned: grid.Plan, work: Todo, slots: int | None) -> Layout:
    """How states run side by side; where costs are asked for, not at all: they would measure each other."""
    alone = 1 if planned.cost is not None and place.device == "cpu" else None
    return place.layout(_states_to_run(planned, work), slots or alone)


def _states_to_run(planned: grid.Plan, work: Todo) -> list[grid.StatePlan]:
    return [state for state in planned.states if state.name in work.cells or state.name in work.prepare]


def _planned(source: suite.SuiteFile, only: str | None) -> grid.Plan:
    planned = plan.make(source)
    if only is None:
        return planned
    selected = selection.select(planned, only)
    if not selected.cells:
        raise UsageError(
            f"--only {only}: no cell of suite '{source.suite.name}' matches. Cells are called "
            f"MODEL/COMPRESSOR/SAE, for example {planned.cells[0].path}."
        )
    return selected


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
