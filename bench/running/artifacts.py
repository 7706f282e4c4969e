"""The content-addressed cache: things that cost time and follow from their key alone.

An artifact is a folder whose name is the hash of everything that made it. It is written elsewhere and renamed, so it is
either there whole or not at all; of two processes that make the same one, the first wins and the second's is dropped.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from ...leaderboard.record import canonical_json

KEY_FILE = "key.json"
"""What made an artifact, in the artifact's folder; it is written last."""
UNFINISHED = "unfinished"
CHECKPOINTS = "checkpoints"


def default_folder() -> Path:
    """`$SAETRANSFER_CACHE`, or `saetransfer` in the user's cache folder."""
    if chosen := os.environ.get("SAETRANSFER_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "saetransfer"


def workspace(root: Path) -> Path:
    """A folder below the cache for the unfinished things of this process."""
    folder = root / UNFINISHED / str(os.getpid())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def working(root: Path) -> Iterator[None]:
    """While this process makes something, so that nobody clears what it leaves in the cache to go on from."""
    own = workspace(root)
    try:
        yield
    finally:
        shutil.rmtree(own, ignore_errors=True)


def sweep(root: Path) -> None:
    """Remove what processes that are gone have left unfinished: a killed one cannot clean up after itself."""
    living = at_work(root)
    for folder in (root / UNFINISHED).glob("*"):
        if not (folder.name.isdecimal() and int(folder.name) in living):
            shutil.rmtree(folder, ignore_errors=True)


def at_work(root: Path) -> set[int]:
    """Ids of the living processes that have a workspace below the cache; every worker has one all its life."""
    names = (folder.name for folder in (root / UNFINISHED).glob("*"))
    return {int(name) for name in names if name.isdecimal() and psutil.pid_exists(int(name))}


class Artifacts:
    """The artifacts below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def checkpoints(self) -> Path:
        """Below it, trainings leave what they need to go on."""
        return self._root / CHECKPOINTS

    def find(self, key: Mapping[str, Any]) -> Path | None:
        """The folder of the artifact with that key, if it is there."""
        folder = self.folder(key)
        return folder if (folder / KEY_FILE).is_file() else None

    @contextmanager
    def create(self, key: Mapping[str, Any]) -> Iterator[Path]:
        """An empty folder to fill; it becomes the artifact when the context ends without an exception."""
        final = self.folder(key)
        final.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=workspace(self._root)))
        try:
            yield folder
            (folder / KEY_FILE).write_text(canonical_json(key), encoding="utf-8")
            try:
                folder.rename(final)
            except OSError:
                if not (final / KEY_FILE).is_file():
                    raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def folder(self, key: Mapping[str, Any]) -> Path:
        """Where the artifact with that key belongs."""
        digest = hashlib.sha256(canonical_json(key).encode()).hexdigest()[:32]
        return self._root / str(key["kind"]) / digest
