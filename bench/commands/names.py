"""What is said of many names, said once for all that it holds for."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

_MOST = 3
"""Names that are written out; of more, the first two and the last."""


def shared(told: Iterable[tuple[str, T]]) -> list[tuple[str, T]]:
    """Pairs of a name and what is told of it, as pairs of all the names and what is told of them."""
    names: dict[T, dict[str, None]] = {}
    for name, what in told:
        names.setdefault(what, {})[name] = None
    return [(_listed(list(of)), what) for what, of in names.items()]


def _listed(names: list[str]) -> str:
    if len(names) <= _MOST:
        return ", ".join(names)
    return f"{names[0]}, {names[1]} ... {names[-1]} ({len(names)} SAEs)"
