"""The files that a suite names: a node that does not see them is sent copies, in the same arrangement.

Only relative paths travel: an absolute one says where something lies on every machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...planning.suite import SuiteFile

_PATH_KEYS = ("path", "test", "folder")


@dataclass(frozen=True)
class SuiteFiles:
    """Files below one folder."""

    root: Path
    """The nearest folder above the suite's own folder and all files."""
    stamps: dict[str, tuple[int, int]]
    """Path below the root -> size in bytes, time of change in nanoseconds."""

    @property
    def key(self) -> dict[str, Any]:
        """What identifies them among the artifacts of a node."""
        return {"kind": "files", "root": str(self.root), "stamps": self.stamps}

    @property
    def are_here(self) -> bool:
        """Whether this machine sees the same files at the same place."""
        return all(_stamp(self.root / name) == stamp for name, stamp in self.stamps.items())

    def moved(self, source: SuiteFile, folder: Path) -> SuiteFile:
        """The suite as it reads where the files lie in another folder."""
        return replace(source, folder=folder / source.folder.resolve().relative_to(self.root))


def files_of(source: SuiteFile) -> SuiteFiles:
    """The files that a suite names by relative paths."""
    folder = source.folder.resolve()
    paths = {path for path in _paths(source.suite.model_dump()) if not path.is_absolute()}
    found = {file for path in paths for file in _below((folder / path).resolve(), folder)}
    root = Path(os.path.commonpath([folder, *found]))
    stamps = {file.relative_to(root).as_posix(): _stamp(file) for file in sorted(found)}
    return SuiteFiles(root, {name: stamp for name, stamp in stamps.items() if stamp is not None})


def _paths(value: Any, key: str = "") -> Iterator[Path]:
    """Whatever may be a path. A bare word is one only under a key for paths: else it is a name of the registry."""
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


def _below(place: Path, folder: Path) -> Iterator[Path]:
    """A file itself, or the files of a folder; nothing for the suite's own folder or one around it."""
    if place.is_file():
        yield place
    elif place.is_dir() and place != folder and place not in folder.parents:
        yield from (file for file in place.rglob("*") if file.is_file())


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
