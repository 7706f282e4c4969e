"""Text that others wrote (names, messages) and that is to be shown in one line."""

from __future__ import annotations

import json
from typing import Any


def printable(text: str) -> str:
    """One line of visible characters.

    Line ends and tabs become spaces; control characters, which could drive a terminal, and marks that turn the
    direction of writing, which could make one name look like another, become a replacement character.
    """
    words = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in words)


def shortened(text: str, length: int) -> str:
    """At most `length` characters, with an ellipsis where something is cut."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def brief(value: Any, length: int = 24) -> str:
    """A JSON value, short enough for a sentence; hashes keep their first characters."""
    shown = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return shortened(printable(shown), length)
