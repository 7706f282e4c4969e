"""The command line. Heavy imports happen inside commands, so that `--help` answers at once.

Exit codes: 0 fine, 1 a regression, 2 a mistake in the command or a file, 3 some cells failed, 130 or 143 interrupted
(Ctrl-C, SIGTERM).
"""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from .commands.artifact_cli import artifacts
from .commands.doctor_cli import doctor
from .commands.gate_cli import compare, export, merge, publish, validate
from .commands.sae_cli import sae_app
from .running import workers

app = typer.Typer(
    name="saetransfer",
    help="What becomes of a sparse autoencoder when its language model is pruned or quantised.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(sae_app, name="sae")
app.command()(artifacts)
app.command()(doctor)
for command in (compare, validate, merge, export, publish):
    app.command()(command)

USAGE, CELLS_FAILED, INTERRUPTED = 2, 3, 130


class Rerun(str, Enum):
    """Which cells to run again."""

    MISSING = "missing"
    FAILED = "failed"
    ALL = "all"


class Executors(str, Enum):
    """Where states run."""

    LOCAL = "local"
    RAY = "ray"


class Listed(str, Enum):
    """What `list` can list."""

    MODELS = "models"
    COMPRESSORS = "compressors"
    SAES = "saes"
    TEXTS = "texts"
    LABELLED = "labelled"
    TASKS = "tasks"
    METRICS = "metrics"
    SUITES = "suites"


class Section(str, Enum):
    """What `leaderboard` writes."""

    BOARD = "board"
    ANSWER = "answer"
    COMPRESSORS = "compressors"
    SAES = "saes"
    PARETO = "pareto"
    CELLS = "cells"
    DAMAGE = "damage"


@app.command()
def run(  # noqa: PLR0913 - each argument is an option of the command
    suite: Annotated[str, typer.Argument(help="Name of a suite that ships (see `list suites`), or a .yaml file.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the records. [default: runs/<suite>]")] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Only cells that match, e.g. '*/wanda-*/*' or 'native'; the dense cells they need stay."),
    ] = None,
    rerun: Annotated[
        Rerun, typer.Option(help="Which cells to run: those without a record, also failed ones, or all.")
    ] = Rerun.MISSING,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="States at a time, a process each. [default: as cores and memory allow; 1 on a GPU]"),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, ... [default: cuda where there is one]")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the suite, e.g. data.tokens=4096.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds after which a state is ended. [default: none]")
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let models run the Python code that they come with.")
    ] = False,
    executor: Annotated[
        Executors, typer.Option(help="Where states run: processes of this machine, or tasks of a Ray cluster.")
    ] = Executors.LOCAL,
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster, HOST:PORT. [default: that of this machine, or a new one here]"),
    ] = None,
) -> None:
    """Run a suite: every model x compressor x SAE; ends with the board. Again does only what is missing."""
    from .commands.conclusion import nothing_to_do
    from .commands.run_options import RunOptions
    from .running.readiness import getting_ready

    sets = tuple(overrides or ())
    options = RunOptions(
        out, only, rerun.value, jobs, device, sets, dry_run, timeout, trust_remote_code, executor.value, address
    )
    if (code := nothing_to_do(suite, options)) is not None:
        raise typer.Exit(code)
    with getting_ready(options):
        from .commands import run_command

        raise typer.Exit(run_command.run(suite, options))


@app.command("try")
def try_(
    compressor: Annotated[
        str, typer.Argument(help="FILE.py:FUNCTION, or whatever a suite may name, e.g. wanda-60.", show_default=False)
    ],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A parameter of it, e.g. ratio=0.4.")
    ] = None,
) -> None:
    """A compressor on the embedded model, in seconds, offline, beside others that are well known."""
    workers.warm_up()
    from .commands import try_command

    raise typer.Exit(try_command.run(compressor, tuple(overrides or ())))


@app.command("list")
def list_(
    what: Annotated[Listed | None, typer.Argument(help="What to list; all of it if left out.")] = None,
) -> None:
    """What the registry holds, a line each, and whether it can run here."""
    from .commands import listing

    listing.show([what.value] if what else [item.value for item in Listed])


@app.command()
def show(record: Annotated[Path, typer.Argument(help="A record: one .json file below cells/.")]) -> None:
    """One cell, readable."""
    from .commands import board_commands

    board_commands.show(record)


@app.command()
def leaderboard(
    folders: Annotated[list[Path], typer.Argument(help="Folders that `run` wrote records to.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Markdown file: new, or one that holds the comments between which it goes. [default: LEADERBOARD.md, "
            "unless --html is given]"
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="HTML page to write: one file that needs no network.")] = None,
    section: Annotated[
        Section, typer.Option(help="What of it goes into the Markdown file, between comments of its own.")
    ] = Section.BOARD,
) -> None:
    """Boards from the records of one or more runs, with what they say first: in Markdown, or as an HTML page."""
    from .commands import board_commands

    board_commands.leaderboard(folders, out or (None if html else Path("LEADERBOARD.md")), html, section.value)


class Kind(str, Enum):
    """What `plot` draws."""

    PARETO = "pareto"
    SURVIVAL = "survival"
    BARS = "bars"
    HEATMAP = "heatmap"
    HISTOGRAM = "histogram"


@app.command()
def plot(
    folders: Annotated[list[Path], typer.Argument(help="Folders that `run` wrote records to.")],
    to: Annotated[Path, typer.Option(help="Folder for the files.")],
    kind: Annotated[
        list[Kind] | None, typer.Option(help="Only these figures. [default: all that can be drawn]")
    ] = None,
) -> None:
    """Figures for papers, as SVG and PNG: fronts, survival, bars, heat maps, histograms."""
    from .commands import board_commands

    board_commands.plot(folders, to, [one.value for one in kind or Kind])


def main() -> None:
    """Entry point of the `saetransfer` command: a user's mistake is one message and exit code 2."""
    try:
        app()
    except ValueError as error:
        # The errors of the four folders that are a user's to mend all derive from ValueError; others are ours.
        if not _is_users(error):
            raise
        _refuse(str(error))
    except OSError as error:
        # A file that the user named and that cannot be read or written; an error that names no file is ours.
        if error.filename is None:
            raise
        _refuse(f"{error.filename}: {error.strerror}.")


def _refuse(message: str) -> NoReturn:
    from ..registry.credentials import scrub

    sys.stderr.write(f"saetransfer: {scrub(message)}\n")
    sys.exit(USAGE)


def _is_users(error: ValueError) -> bool:
    from ..leaderboard.errors import RecordError
    from ..registry.errors import RegistryError
    from .errors import UsageError

    return isinstance(error, UsageError | RegistryError | RecordError)
