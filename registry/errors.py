"""The two ways in which something that a user named cannot be had."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RegistryError(ValueError):
    """A user's mistake: the text says what was got, what is allowed and what to do. The command line exits with 2."""


class Impossible(Exception):
    """A combination that cannot be measured here (a library or a device is missing, shapes do not fit).

    It is no mistake of the suite: the cell becomes a record with status `skipped` and this text as its reason.
    """


def unknown(kind: str, name: str, known: Iterable[str], remedy: str = "") -> RegistryError:
    """The error for a name that is not known, with the closest known one."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f" Did you mean '{close[0]}'?" if close else ""
    allowed = f" Known: {', '.join(names)}." if names else ""
    return RegistryError(f"Unknown {kind} '{name}'.{guess}{allowed}{' ' + remedy if remedy else ''}")
