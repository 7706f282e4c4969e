"""The command `saetransfer doctor`, as its help shows it."""

from __future__ import annotations

from typing import Annotated

import typer

from ..running import workers


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON, for bug reports.")] = False,
) -> None:
    """What is installed, on what hardware, and whether it works: versions, devices, extras, a self-test of seconds."""
    workers.warm_up()
    from . import doctor_command

    raise typer.Exit(doctor_command.run(as_json))
