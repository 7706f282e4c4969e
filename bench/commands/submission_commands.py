"""`saetransfer validate` and `saetransfer merge`: records that somebody hands in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from ...leaderboard.gate.judging import Rules
from ...leaderboard.submissions import merge as merging
from ...leaderboard.submissions import report
from ...leaderboard.submissions.validate import validate as examine
from ...leaderboard.text import printable
from ..console import console as make_console
from ..errors import UsageError
from ..measuring.definitions import gauges

NOT_ACCEPTABLE = 2


def validate(folders: Sequence[Path], summary: Path | None) -> int:
    """Look at records, say what to mend, and return the exit code."""
    found = examine(folders, gauges())
    if not found.n_files:
        raise UsageError(f"No records in {', '.join(map(str, folders))}. `run` writes them to its --out.")
    console = make_console()
    for path, mistakes in found.found.items():
        console.print(Text(str(path), style="bold"))
        for mistake in mistakes:
            style = "red" if mistake.is_error else "yellow"
            console.print(Text.assemble("  ", (f"{mistake.level}: {mistake.what}", style), f"; {mistake.remedy}"))
    console.print(Text(found.digest, style="bold red" if found.n_errors else "bold green"))
    if summary is not None:
        summary.parent.mkdir(parents=True, exist_ok=True)
        summary.write_text(report.render(found), encoding="utf-8")
    return NOT_ACCEPTABLE if found.n_errors else 0


def merge(folders: Sequence[Path], to: Path) -> None:
    """Put the records of several folders into one; on a conflict nothing is written."""
    merged = merging.merge(folders, Rules(gauges()))
    console = make_console()
    for answer in merged.answers:
        console.print(Text(printable(answer)))
    if merged.conflicts:
        told = "\n".join(f"- {printable(conflict)}" for conflict in merged.conflicts)
        raise UsageError(f"Nothing was merged. Decide which record is right, and take the other out:\n{told}")
    if not merged.kept:
        raise UsageError(f"No records in {', '.join(map(str, folders))}. `run` writes them to its --out.")
    merging.write(merged, to)
    console.print(Text(f"{len(merged.kept)} records -> {to}"))
