"""The commands `saetransfer sae train|finetune|prune`: one SAE, outside a suite, by the machinery of any run.

It is made in this process. What takes time lies in the cache afterwards, under the key that it has in suites: what a
suite has made is only copied here, a killed training goes on, and a suite finds what was made here.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
import yaml
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from transformers import PreTrainedModel

from ...registry import models
from ...registry.compressors.method import compress, noted_warnings
from ...registry.compressors.outcome import NotCompressed
from ...registry.compressors.snapshot import DenseSnapshot
from ...registry.compressors.verify import verify
from ...registry.errors import Impossible
from ...registry.saes import build
from ...registry.saes.build import Built
from ...registry.saes.entry import SaeEntry
from ..cli import INTERRUPTED
from ..console import console
from ..errors import UsageError
from ..planning import plan
from ..planning.grid import MICROWORLD, CellPlan, Plan, StatePlan
from ..running import artifacts
from ..running.artifacts import Artifacts
from ..running.stock import Stock
from ..running.supply import Supply
from . import run_command
from .sae_definition import Read, Wanted, says_text, suite_of

__all__ = ["Read", "Wanted", "run"]

Tell = Callable[[str, float], None]
"""Told the phase that runs, and how much of it is done."""


def run(wanted: Wanted, out: Path, device: str | None, force: bool) -> int:
    """Make an SAE and write it to a folder; returns the exit code."""
    _check_out(out, force)
    planned = plan.make(suite_of(wanted, out.resolve().name))
    state = planned.states[-1]
    cell = state.cells[-1]
    _check_use(wanted, state, cell)
    transformers.utils.logging.disable_progress_bar()
    cache, chosen = artifacts.default_folder(), run_command.chosen_device(device)
    artifacts.sweep(cache)
    try:
        with artifacts.working(cache), _bar() as tell:
            built = _made(planned, state, cell, Artifacts(cache), chosen, tell)
    except KeyboardInterrupt:
        console().print("Interrupted. The same command goes on from the last checkpoint, if there was one.")
        return INTERRUPTED
    except (Impossible, NotCompressed) as error:
        raise UsageError(str(error)) from error
    _write(built, out)
    _show(built, state, cell, out)
    return 0


def _check_out(out: Path, force: bool) -> None:
    """Refuse a folder that holds something before anything is made for it."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: that is a file. A folder is needed.")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise UsageError(f"--out {out}: the folder is not empty. Name another, or overwrite the SAE in it: --force.")


def _check_use(wanted: Wanted, state: StatePlan, cell: CellPlan) -> None:
    """Refuse an option that would change nothing, and a default that was meant for another model."""
    if not state.is_dense and not cell.sae.depends_on_state:
        raise UsageError(
            f"--compressor {state.compressor.name}: this SAE would be the same without it, since its making reads "
            "nothing of the compressed model. Leave it out, or, where `on` was given: --set on=state."
        )
    if cell.sae.reads is not None and wanted.read.model != MICROWORLD and not says_text(wanted):
        raise UsageError("--text is needed: the text on which the model's activations are read, for example FILE.txt.")


def _made(planned: Plan, state: StatePlan, cell: CellPlan, kept: Artifacts, device: str, tell: Tell) -> Built:
    supply = Supply(planned, state, kept, device)
    saes = supply.saes(cell.prepend_bos)
    if cell.sae.on is not None and Stock(planned, state, kept, device).has_sae(cell.sae, cell.prepend_bos):
        return saes.kept(cell.sae, device)
    torch.manual_seed(planned.suite.seed)
    model = _compressed(state, supply, device, tell)
    found = saes.supply([cell.sae], {}, model, lambda fraction: tell("make the SAE", fraction))[cell.sae.name]
    if not isinstance(found, Built):
        raise found
    return found


def _compressed(state: StatePlan, supply: Supply, device: str, tell: Tell) -> PreTrainedModel:
    """The model, compressed, and verified before anything made on it enters the cache."""
    if missing := state.compressor.missing():
        raise Impossible(missing)
    tell("load", 0.0)
    model = models.load(state.model, device)
    supply.note_dense(model)
    if state.is_dense:
        return model
    with DenseSnapshot(model, supply.probe()) as snapshot, noted_warnings() as notes:
        tell(f"compress ({state.compressor.name})", 0.0)
        calibration = supply.calibration() if state.compressor.needs_calibration else None
        model = compress(model, state.compressor, calibration)
        tell("verify", 0.0)
        verify(model, snapshot, state.compressor.promise, supply.inspection(), notes)
    return model


@contextmanager
def _bar() -> Iterator[Tell]:
    """A bar on a terminal, nothing elsewhere."""
    shown = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
        task = progress.add_task("prepare", total=1.0)
        yield lambda phase, fraction: progress.update(task, description=phase, completed=fraction)


def _write(built: Built, out: Path) -> None:
    """Each file of the SAE at once and whole; what else lies in the folder stays."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as writing:
        build.save(built.sae, Path(writing))
        for file in sorted(Path(writing).iterdir()):
            file.replace(out / file.name)


def _show(built: Built, state: StatePlan, cell: CellPlan, out: Path) -> None:
    """What was made, what it cost, and the lines by which a suite names it."""
    facts, cost, entry = build.facts(built.sae), built.cost, cell.sae
    lines = [
        f"{out}: {entry.source} {facts['architecture']} SAE at {entry.site.name} of {state.name}",
        f"{facts['d_in']} channels, {facts['d_sae']:,} latents, {facts['parameters']:,} parameters "
        f"({facts['nonzero_parameters']:,} not zero), {decimal(int(facts['size_bytes']))}",
        *_matched(built, entry),
        f"cost: {cost.seconds:.1f} s, {cost.capture_seconds:.1f} s of them for activations; {cost.tokens:,} tokens, "
        f"{cost.steps:,} steps, {cost.flops:.2g} FLOPs",
    ]
    definition = {"name": entry.name, "source": "pretrained", "path": str(out)}
    pasted = yaml.safe_dump({"saes": [definition]}, default_flow_style=None, sort_keys=False, width=math.inf)
    shown = console()
    for line in lines:
        shown.print(line, markup=False, highlight=False, soft_wrap=True)
    shown.print(f"\nIn a suite in this folder:\n\n{pasted.rstrip()}", markup=False, highlight=False, soft_wrap=True)


def _matched(built: Built, entry: SaeEntry) -> list[str]:
    """How near its L0 came to that which it was to meet; what a base was to meet is not its own."""
    own = entry.source == "trained" or (entry.source == "finetuned" and entry.architecture != "topk")
    matched: dict[str, float] | None = built.sae.cfg.metadata.get("matched_l0") if own else None
    return [] if matched is None else [f"L0 {matched['reached']:.1f}, to be matched: {matched['target']:.1f}"]
