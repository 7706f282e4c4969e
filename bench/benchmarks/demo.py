"""The demo suite, from scratch, again when everything is done, and cell by cell as if nothing were shared."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from ...leaderboard import store
from . import command

_ROUNDS = 3
_ALONE = ("dense/microworld-resid-2", "wanda-50/microworld-resid-2", "rtn-4/native", "wanda50-rtn4/wanda-sae-50")
"""Cells that are run alone, each as a run of its own that shares nothing."""


def section() -> str:
    """Times of whole commands, and cells per minute."""
    first, again, n_cells = [], [], 0
    for _ in range(_ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            first.append(command.run("demo", Path(name)))
            again.append(command.run("demo", Path(name)))
            n_cells = len(store.read_all([Path(name) / "out"]).records)
    alone = [_alone(cell) for cell in _ALONE]
    together = 60 * n_cells / median(first)
    apart = 60 / (sum(alone) / len(alone))
    rows = [
        "| `saetransfer run demo` | time | cells per minute |",
        "| --- | ---: | ---: |",
        f"| {n_cells} cells, from scratch | {median(first):.0f} s | {together:.0f} |",
        f"| the same command again, nothing to do | {median(again):.1f} s | |",
        f"| one cell at a time, sharing nothing | {sum(alone) / len(alone):.0f} s a cell | {apart:.1f} |",
    ]
    return (
        f"Whole commands, the start of the interpreter included; medians of {_ROUNDS}. One cell at a time: the mean of "
        f"{len(_ALONE)} runs of one cell each with an empty cache; {together / apart:.1f} times as many cells a minute "
        "come from one grid.\n\n" + "\n".join(rows)
    )


def _alone(cell: str) -> float:
    with tempfile.TemporaryDirectory() as name:
        return command.run("demo", Path(name), options=["--only", f"*/{cell}"])
