"""The files that a suite names, found by the form of its texts: before, or without, looking up what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .suite import SuiteFile

_PATH_KEYS = ("path", "test", "folder")

Stamp = tuple[int, int]
"""Size in bytes and time of change in nanoseconds."""


def named_paths(source: SuiteFile) -> set[Path]:
    """Whatever in a suite may be a path, as it stands there."""
    return set(_paths(source.suite.model_dump()))


def files_at(path: Path, folder: Path) -> Iterator[Path]:
    """The file at a path, or the files of the folder there; nothing for the suite's own folder or one around it."""
    folder = folder.resolve()
    place = (folder / path).resolve()
    if place.is_file():
        yield place
    elif place.is_dir() and place != folder and place not in folder.parents:
        yield from (file for file in place.rglob("*") if file.is_file())


def stamp(file: Path) -> Stamp | None:
    """Tells that a file has changed; None where it cannot be seen."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _paths(value: Any, key: str = "") -> Iterator[Path]:
    """A bare word is a path only under a key for paths: else it is a name of the registry."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _paths(part, str(name))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _paths(part, key)
    elif isinstance(value, str) and value:
        yield from (
            path
            for path in {Path(value), Path(value.rpartition(":")[0])}  # the latter of file.py:function
            if path.parts and (key in _PATH_KEYS or path.suffix or len(path.parts) > 1)
        )
