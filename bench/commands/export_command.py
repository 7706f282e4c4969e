"""`saetransfer export`: records in the forms that other tools read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from ...leaderboard.exports import action_benchmark, every_eval_ever, latex
from ...leaderboard.frame import load
from ..errors import UsageError
from ..measuring.definitions import definitions, gauges
from .board_commands import read

FOLDERS = ("eee", "github-action-benchmark")
"""Formats of several files."""


def export(folders: Sequence[Path], form: str, to: Path, organization: str) -> None:
    """Write the records below some folders in a format to a file, or to a folder where it has several files."""
    console = Console(stderr=True)
    records = read(folders, console)
    _check_place(form, to)
    if form == "csv":
        load(*folders).to_csv(_made(to), index=False, lineterminator="\n")
    elif form == "parquet":
        load(*folders).to_parquet(_made(to), index=False)
    elif form == "latex":
        _made(to).write_text(latex.render(records, definitions()), encoding="utf-8")
    elif form == "eee":
        _write_all(every_eval_ever.documents(records, gauges(), organization), to)
    else:
        _write_all(action_benchmark.documents(records, gauges()), to)
    console.print(f"{len(records)} cells -> {to}", markup=False, highlight=False)


def _check_place(form: str, to: Path) -> None:
    if form in FOLDERS and to.exists() and not to.is_dir():
        raise UsageError(f"--to {to}: {form} has several files, so it goes to a folder; this is a file.")
    if form not in FOLDERS and to.is_dir():
        raise UsageError(f"--to {to}: {form} is one file; this is a folder. Give the file's name.")


def _made(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _write_all(documents: Mapping[str, str], folder: Path) -> None:
    for name, text in documents.items():
        _made(folder / name).write_text(text, encoding="utf-8")
