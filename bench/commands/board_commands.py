"""The commands that read records: `saetransfer leaderboard` and `saetransfer show`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ...leaderboard import store
from ...leaderboard.boards import board, markdown, place
from ...leaderboard.errors import PageError
from ...leaderboard.page import page
from ...leaderboard.record import Record
from ...tasks import shelf as tasks
from ..console import console as make_console
from ..errors import UsageError
from ..measuring.definitions import definitions
from . import cost_view

_FORMATS = {
    "target_matrices": ",",
    "sparsity": ".1%",
    "effective_bits": ".2f",
    "weight_error": ".3f",
    "dense": ",",
    "actual": ",",
    "theoretical": ",",
}
"""How what is known of compression is printed."""


def leaderboard(folders: Sequence[Path], out: Path | None, html: Path | None, section: str) -> None:
    """`saetransfer leaderboard`: a section of a Markdown file, an HTML page, or both."""
    console = Console(stderr=True)
    records = read(folders, console)
    if out is not None:
        text = markdown.to_markdown(board.build(records, definitions()), section)
        _write(out, _placed(out, section, text), len(records), console)
    if html is not None:
        _write(html, page.render(records, definitions()), len(records), console)


def _placed(file: Path, section: str, text: str) -> str:
    page = file.read_text(encoding="utf-8") if file.exists() else ""
    try:
        return place.placed(page, section, text)
    except PageError as error:
        raise UsageError(f"{file}: {error}") from error


def _write(file: Path, text: str, n_records: int, console: Console) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    console.print(f"{n_records} cells -> {file}", highlight=False)


def plot(folders: Sequence[Path], to: Path, kinds: Sequence[str]) -> None:
    """`saetransfer plot`."""
    try:
        from ...leaderboard.plots import shelf
    except ModuleNotFoundError as error:
        raise UsageError(
            f"Plots need {error.name}, which is not installed: pip install 'saetransfer[plot]'."
        ) from error
    console = Console(stderr=True)
    files = shelf.write(read(folders, console), definitions(), to, kinds)
    if not files:
        raise UsageError(f"These records do not hold what {', '.join(kinds)} would show.")
    console.print(f"{len(files)} files -> {to}", highlight=False)


def read(folders: Sequence[Path], console: Console) -> tuple[Record, ...]:
    """The records of some folders; what is none is told of and left out.

    Raises:
        UsageError: there are none.
    """
    found = store.read_all(folders)
    for problem in found.problems:
        console.print(f"left out: {problem.path}: {problem.message}", style="yellow", markup=False, highlight=False)
    if not found.records:
        raise UsageError(
            f"No records in {', '.join(str(folder) for folder in folders)}. `run` writes them to its --out."
        )
    return found.records


def show(path: Path) -> None:
    """`saetransfer show`."""
    console = make_console()
    record = store.read(path)
    labels = record.labels
    title = f"{labels.model} / {labels.compressor} / {labels.sae} ({labels.sae_source}) at {record.spec.site}"
    console.print(title, style="bold", markup=False, highlight=False)
    if record.error is not None:
        console.print(
            f"{record.status} in phase {record.error.phase}: {record.error.message}", style="yellow", markup=False
        )
        if record.error.traceback:
            console.print(record.error.traceback, markup=False, highlight=False)
    if record.compression:
        console.print(_compression(record), markup=False, highlight=False)
    if record.metrics:
        console.print(_figures(record))
        cost_view.show(record, console)
    seconds = ", ".join(f"{phase.name} {phase.seconds:.1f} s" for phase in record.phases)
    console.print(f"{seconds or 'no phases'}; cell {record.cell_id}, {record.created_at}", style="dim", highlight=False)


def _compression(record: Record) -> str:
    """What compression did; records of others may say less than ours, or say it otherwise."""
    facts = record.compression or {}
    sizes = facts.get("bytes")
    named = {name: facts.get(name) for name in ("target_matrices", "sparsity", "effective_bits", "weight_error")}
    named |= {name: sizes.get(name) if isinstance(sizes, dict) else None for name in ("dense", "actual", "theoretical")}
    said = {
        name: format(value, _FORMATS[name]) if type(value) in (int, float) else "?" for name, value in named.items()
    }
    return (
        "{target_matrices} matrices, {sparsity} zeros, {effective_bits} bits a weight, weight error {weight_error}; "
        "bytes: dense {dense}, as stored {actual}, in theory {theoretical}"
    ).format(**said)


def _figures(record: Record) -> Table:
    known = tasks.metrics()
    table = Table("metric", "value", "95 % interval", "n", "what it is", box=None, pad_edge=False)
    for name, figure in record.metrics.items():
        if figure.kind == "cost":
            continue
        value = "-" if figure.value is None else f"{figure.value:.5g} {'' if figure.unit == '1' else figure.unit}"
        interval = "-" if figure.ci is None else f"{figure.ci[0]:.4g} to {figure.ci[1]:.4g}"
        meaning = known[name].definition if name in known else ""
        if figure.value is None:
            meaning = f"no value: {figure.reason}"
        table.add_row(name, value, interval, str(figure.n or "-"), meaning)
    return table
