"""The commands `saetransfer compare`, `validate` and `merge`, as their help shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(  # noqa: PLR0913 - each argument is an option of the command
    base: Annotated[Path, typer.Argument(help="Folder with the records of the baseline.")],
    new: Annotated[Path, typer.Argument(help="Folder with the records to judge.")],
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=X",
            help="How far a metric may move: 0.01 in its unit, 5% of the baseline, or ignore. METRIC may be a pattern.",
        ),
    ] = None,
    tolerances: Annotated[Path | None, typer.Option(metavar="FILE", help="The same as a YAML mapping.")] = None,
    summary: Annotated[Path | None, typer.Option(metavar="FILE", help="Markdown for a job summary.")] = None,
    comment: Annotated[Path | None, typer.Option(metavar="FILE", help="The same, short enough for a comment.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="JUnit XML, a case a figure.")] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Everything, as JSON.")] = None,
    write_baseline: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the new baseline, ready to commit; its old records go.")
    ] = None,
) -> None:
    """The gate of CI: records against a baseline. Ends with 1 if something is worse, 3 if cells failed or are gone."""
    from . import compare_command

    options = compare_command.CompareOptions(
        tolerances, tuple(tolerance or ()), summary, comment, junit, json, write_baseline
    )
    raise typer.Exit(compare_command.run(base, new, options))
