"""The command `saetransfer artifacts`, as its help shows it."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class Action(str, Enum):
    """What can be done with the cache beside looking at it."""

    CLEAR = "clear"


class Kind(str, Enum):
    """Kinds of artifacts."""

    SAE = "sae"
    READING = "reading"
    FIT = "fit"
    CHECKPOINTS = "checkpoints"
    TRY = "try"
    ALL = "all"


def artifacts(
    action: Annotated[
        Action | None, typer.Argument(help="Delete what is listed; whatever is needed again is made again.")
    ] = None,
    kind: Annotated[Kind, typer.Option(help="Only this kind.")] = Kind.ALL,
    older_than: Annotated[
        float, typer.Option(min=0, metavar="DAYS", help="Only what was last written so many days ago.")
    ] = 0.0,
    yes: Annotated[bool, typer.Option("--yes", help="With `clear`: do not ask.")] = False,
) -> None:
    """The cache of what takes time ($SAETRANSFER_CACHE): what lies in it, and clearing it."""
    from . import artifact_commands

    if action is None:
        artifact_commands.show(kind.value, older_than)
    else:
        artifact_commands.clear(kind.value, older_than, yes)
