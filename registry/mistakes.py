"""Readable sentences from pydantic's errors: which key, what was got, what is allowed, what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError


def explain(error: ValidationError, schema: type[BaseModel], given: Mapping[str, Any]) -> str:
    """All mistakes of one mapping, a sentence each, joined by spaces."""
    where = f"'{given['name']}': " if "name" in given else ""
    return where + " ".join(_sentence(detail, schema) for detail in error.errors())


def _sentence(detail: Any, schema: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return unknown_key(key, list(schema.model_fields))
    if detail["type"] == "missing":
        return f"Key '{key}' is missing."
    message = detail["msg"].removeprefix("Value error, ")
    if not key:
        return f"{message[0].upper()}{message[1:]}."
    return f"Key '{key}': {message[0].lower()}{message[1:]} (got {detail['input']!r})."


def unknown_key(key: str, allowed: list[str]) -> str:
    """The sentence for a key that a mapping may not have."""
    close = difflib.get_close_matches(key, allowed, n=1, cutoff=0.5)
    guess = f" Did you mean '{close[0]}'?" if close else ""
    return f"Unknown key '{key}'.{guess} Allowed: {', '.join(allowed) or 'none'}."
