"""Credentials, and keeping them out of whatever is written down: records, logs and messages.

Three things are taken for one: the value of an environment variable that is called like a credential, what stands
before the `@` of an address, and the tokens of well-known services, which can be told by how they begin.
"""

from __future__ import annotations

import os
import re

HIDDEN = "***"

_NAMES = ("TOKEN", "SECRET", "PASSWORD", "KEY", "CREDENTIAL")
_SHORTEST = 8
"""Characters: shorter values stand in too many places that have nothing to do with them."""
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@'\"]+(?=@)")
_TOKEN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|sk-[\w-]{20,}"
    r"|xox[abprs]-[\w-]{10,}|AKIA[A-Z0-9]{16})"
)


def values() -> list[str]:
    """Values of environment variables that are called like credentials, longest first."""
    found = {
        value
        for name, value in os.environ.items()
        if len(value) >= _SHORTEST and any(part in name.upper() for part in _NAMES)
    }
    return sorted(found, key=len, reverse=True)


def scrub(text: str) -> str:
    """The text with `***` in place of every credential."""
    for value in values():
        text = text.replace(value, HIDDEN)
    return _TOKEN.sub(HIDDEN, _IN_ADDRESS.sub(HIDDEN, text))


def are_in(text: str) -> bool:
    """Whether a credential stands in a text."""
    return scrub(text) != text
