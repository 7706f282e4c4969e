"""What lies in the artifact cache, for people: sizes and ages, what made each SAE, and taking things out again."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..running.artifacts import CHECKPOINTS, UNFINISHED, at_work, sweep, workspace

SAE = "sae"
KINDS = (SAE, "reading", "fit", "files", CHECKPOINTS, "try")
"""Folders of the cache that hold artifacts; `unfinished` holds what processes are writing."""

_DIGEST = re.compile(r"[0-9a-f]{32}")
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Stored:
    """One thing in the cache."""

    kind: str
    folder: Path
    size_bytes: int
    written: float
    """When something in it was last written, in seconds since the epoch."""

    @property
    def age_days(self) -> float:
        """Days since it was last written."""
        return max(0.0, time.time() - self.written) / _DAY_SECONDS

    def read(self, name: str) -> dict[str, Any]:
        """What one of its JSON files holds; nothing where that is not there or damaged."""
        try:
            found = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def stored(root: Path, kinds: Sequence[str] = (*KINDS, UNFINISHED)) -> list[Stored]:
    """What lies below a cache, the newest of each kind first; nothing that does not look like the cache's own."""
    found = [
        _stored(kind, folder)
        for kind in kinds
        for folder in (root / kind).glob("*")
        if folder.is_dir() and (kind == UNFINISHED or _DIGEST.fullmatch(folder.name))
    ]
    return sorted(found, key=lambda one: (kinds.index(one.kind), -one.written))


def remove(root: Path, things: Iterable[Stored]) -> list[Stored]:
    """Take things out, each at once and whole; returns those that nobody else has taken out before.

    What killed processes have left goes too.
    """
    own, removed = workspace(root), []
    with tempfile.TemporaryDirectory(dir=own) as aside:
        for thing in things:
            gone = Path(aside) / f"{thing.kind}-{thing.folder.name}"
            try:
                thing.folder.rename(gone)
            except FileNotFoundError:
                continue
            shutil.rmtree(gone)
            removed.append(thing)
    with suppress(OSError):  # this process may be writing something else there
        own.rmdir()
    sweep(root)
    return removed


def others_at_work(root: Path) -> list[int]:
    """Ids of the other living processes that use the cache."""
    return sorted(at_work(root) - {os.getpid()})


def _stored(kind: str, folder: Path) -> Stored:
    size, written = 0, 0.0
    for path in (folder, *folder.rglob("*")):
        try:
            status = path.lstat()
        except FileNotFoundError:  # somebody else is at work there
            continue
        size += 0 if path.is_dir() else status.st_size
        written = max(written, status.st_mtime)
    return Stored(kind, folder, size, written)
