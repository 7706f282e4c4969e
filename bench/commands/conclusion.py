"""How `saetransfer run` ends: the board, a count of the cells, and the exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from ...leaderboard.boards import board, terminal
from ...leaderboard.boards.columns import Definition
from ...leaderboard.record import Record
from ..cli import CELLS_FAILED
from ..console import console as make_console
from ..planning import suite
from ..running import finished
from .run_options import RunOptions


def nothing_to_do(name: str, options: RunOptions) -> int | None:
    """The end of a run of which all cells are done and nothing has changed since; None where that is not plain to see.

    It spares the libraries that load models, which planning takes: seconds.
    """
    if options.rerun != "missing" or options.dry_run:
        return None
    source = suite.load(name, options.overrides, options.trusts_remote_code)
    folder = options.folder(source.suite.name)
    found = finished.find(folder, source, options.only)
    if found is None:
        return None
    return conclude(found.records, found.definitions, len(found.records), folder, make_console(terminal.WIDTH))


def conclude(
    records: Sequence[Record], definitions: Mapping[str, Definition], n_before: int, folder: Path, console: Console
) -> int:
    """Show what there is; returns the exit code.

    Args:
        records: of all cells of the plan that have one, `n_before` of which were there before the run.
    """
    terminal.show(board.build(records, definitions), console)
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
