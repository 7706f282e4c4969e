"""The files that a suite names: a node that does not see them is sent copies, in the same arrangement.

Only relative paths travel: an absolute one says where something lies on every machine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...planning.named_files import Stamp, files_at, named_paths, stamp
from ...planning.suite import SuiteFile


@dataclass(frozen=True)
class SuiteFiles:
    """Files below one folder."""

    root: Path
    """The nearest folder above the suite's own folder and all files."""
    stamps: dict[str, Stamp]
    """By path below the root."""

    @property
    def key(self) -> dict[str, Any]:
        """What identifies them among the artifacts of a node."""
        return {"kind": "files", "root": str(self.root), "stamps": self.stamps}

    @property
    def are_here(self) -> bool:
        """Whether this machine sees the same files at the same place."""
        return all(stamp(self.root / name) == seen for name, seen in self.stamps.items())

    def moved(self, source: SuiteFile, folder: Path) -> SuiteFile:
        """The suite as it reads where the files lie in another folder."""
        return replace(source, folder=folder / source.folder.resolve().relative_to(self.root))


def files_of(source: SuiteFile) -> SuiteFiles:
    """The files that a suite names by relative paths."""
    folder = source.folder.resolve()
    paths = {path for path in named_paths(source) if not path.is_absolute()}
    found = {file for path in paths for file in files_at(path, folder)}
    root = Path(os.path.commonpath([folder, *found]))
    stamps = {file.relative_to(root).as_posix(): stamp(file) for file in sorted(found)}
    return SuiteFiles(root, {name: seen for name, seen in stamps.items() if seen is not None})
