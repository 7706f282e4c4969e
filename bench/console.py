"""Where commands print."""

from __future__ import annotations

from rich.console import Console

_WIDTH = 200


def console(width: int = _WIDTH) -> Console:
    """Standard output: as wide as the terminal, or, where there is none, as wide as given, so that lines stay whole."""
    found = Console()
    return found if found.is_terminal else Console(width=width)
