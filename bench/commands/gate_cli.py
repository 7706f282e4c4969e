"""The commands on finished records (`compare`, `validate`, `merge`, `export`, `publish`), as their help shows them."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

Folders = Annotated[list[Path], typer.Argument(help="Folders with records, such as `run` writes.")]


class Format(str, Enum):
    """What `export` can write."""

    CSV = "csv"
    PARQUET = "parquet"
    EEE = "eee"
    GITHUB_ACTION_BENCHMARK = "github-action-benchmark"
    LATEX = "latex"


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


def validate(
    folders: Folders,
    summary: Annotated[Path | None, typer.Option(metavar="FILE", help="The same as Markdown, for a comment.")] = None,
) -> None:
    """Whether a leaderboard can accept records: schema, ids, figures, controls, environment. Ends with 2 if not."""
    from . import submission_commands

    raise typer.Exit(submission_commands.validate(folders, summary))


def merge(folders: Folders, to: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write to.")]) -> None:
    """The records of several folders in one; says what is done about each cell that is there more than once."""
    from . import submission_commands

    submission_commands.merge(folders, to)


def export(
    folders: Folders,
    to: Annotated[Path, typer.Option(metavar="PATH", help="File to write; a folder for eee, github-action-benchmark.")],
    form: Annotated[Format, typer.Option("--format", help="eee is Every Eval Ever, latex a booktabs table.")],
    organization: Annotated[str, typer.Option(help="With eee: who ran the evaluation.")] = "unknown",
) -> None:
    """Records as a table for analysis, for a paper, or in the form of another tool."""
    from . import export_command

    export_command.export(folders, form.value, to, organization)


def publish(
    folders: Folders,
    to: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the site, for any static host.")],
    title: Annotated[str, typer.Option(help="Title of its feeds.")] = "SAE transfer",
    hub: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Also push it to this data set on the Hugging Face hub.")
    ] = None,
) -> None:
    """A leaderboard as a static site: page, Markdown, records, table, feeds of changes."""
    from . import publish_command

    publish_command.publish(folders, to, title, hub)
