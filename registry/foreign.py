"""Files that somebody hands over, read so that damaged ones are answered in words.

JSON is checked here: that it is there, whole, an object, and of a size that a description can have. What a library
makes of a file is another matter: transformers, tokenizers and SAELens raise whatever they stumble over, tokenizers
even a bare `Exception`. So this is, beside `bench/running/state.py`, the one place that catches every exception.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import Impossible, RegistryError

LARGEST_JSON_BYTES = 256 * 2**20
"""No description is as large; the largest files of that kind, vocabularies, take tens of megabytes."""


def json_object(file: Path, whose: str, remedy: str = "") -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        whose: what the file belongs to, for messages.
        remedy: what to do, at their end.

    Raises:
        RegistryError: it cannot be read, is no JSON object, or far too large for one.
    """
    end = f" {remedy}" if remedy else ""
    try:
        if (size := file.stat().st_size) > LARGEST_JSON_BYTES:
            raise RegistryError(
                f"{whose}: '{file}' has {size:,} bytes; at most {LARGEST_JSON_BYTES:,} are read as JSON.{end}"
            )
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RegistryError(f"{whose}: '{file}' cannot be read: {error.strerror or error}.{end}") from error
    except RecursionError as error:
        raise RegistryError(f"{whose}: '{file}' is nested too deeply.{end}") from error
    except ValueError as error:  # not UTF-8, no JSON, a number of thousands of digits
        raise RegistryError(f"{whose}: '{file}' is no complete JSON: {error}.{end}") from error
    if not isinstance(content, dict):
        raise RegistryError(f"{whose}: '{file}' holds a {type(content).__name__}; a JSON object is needed.{end}")
    return content


@contextmanager
def read_by_library(what: str) -> Iterator[None]:
    """While a library reads a file: whatever it raises is the file's fault.

    Args:
        what: what does not work then, as in `Model 'toy' does not load from FOLDER`.

    Raises:
        RegistryError: the library raised something.
    """
    try:
        yield
    except (RegistryError, Impossible):
        raise
    except Exception as error:  # libraries raise whatever they like; what was being done is said before it
        raise RegistryError(f"{what}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The first line of a library's message: the rest is advice for other situations."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines and not isinstance(error, KeyError) else f"{type(error).__name__} {error}".strip()
