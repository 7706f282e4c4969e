"""The content-addressed cache: things that cost time and follow from their key alone.

An artifact is a folder whose name is the hash of everything that made it. It is written elsewhere, sealed with hashes
of its files and renamed, so it is either there whole or not at all; one that was damaged since then counts as not
there. Of several processes that want the same one, one makes it and the others wait.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from ...leaderboard.record import canonical_json
from ...registry.files import is_whole, seal

KEY_FILE = "key.json"
"""What made an artifact, in the artifact's folder."""
UNFINISHED = "unfinished"
CHECKPOINTS = "checkpoints"
LOCKS = "locks"


def default_folder() -> Path:
    """`$SAETRANSFER_CACHE`, or `saetransfer` in the user's cache folder."""
    if chosen := os.environ.get("SAETRANSFER_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "saetransfer"


def workspace(root: Path) -> Path:
    """A folder below the cache for the unfinished things of this process."""
    folder = root / UNFINISHED / f"{_machine()}-{os.getpid()}"
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
        machine, _, process = folder.name.rpartition("-")
        if machine in ("", _machine()) and not (process.isdecimal() and int(process) in living):
            shutil.rmtree(folder, ignore_errors=True)


def at_work(root: Path) -> set[int]:
    """Ids of this machine's living processes with a workspace below the cache; every worker has one all its life."""
    found = (folder.name.removeprefix(f"{_machine()}-") for folder in (root / UNFINISHED).glob("*"))
    return {int(name) for name in found if name.isdecimal() and psutil.pid_exists(int(name))}


@cache
def _machine() -> str:
    """Tells the machines apart that share a cache, where process ids do not."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


class Artifacts:
    """The artifacts below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def checkpoints(self) -> Path:
        """Below it, trainings leave what they need to go on."""
        return self._root / CHECKPOINTS

    def find(self, key: Mapping[str, Any]) -> Path | None:
        """The folder of the artifact with that key, if it is there and whole."""
        folder = self.folder(key)
        return folder if is_whole(folder) and _key_in(folder) == canonical_json(key) else None

    @contextmanager
    def making(self, keys: Iterable[Mapping[str, Any]]) -> Iterator[None]:
        """While this process makes some artifacts: others that want one of them wait at this door, and then find it."""
        locks = self._root / LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            for name in sorted(
                {self.folder(key).name for key in keys}
            ):  # in one order, so that no two wait for each other
                held.enter_context(FileLock(locks / name))
            yield

    @contextmanager
    def create(self, key: Mapping[str, Any]) -> Iterator[Path]:
        """An empty folder to fill; it becomes the artifact when the context ends without an exception."""
        final = self.folder(key)
        final.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=workspace(self._root)))
        try:
            yield folder
            (folder / KEY_FILE).write_text(canonical_json(key), encoding="utf-8")
            seal(folder)
            if final.exists() and self.find(key) is None:
                damaged = Path(tempfile.mkdtemp(dir=workspace(self._root)))
                final.rename(damaged / final.name)
                shutil.rmtree(damaged)
            try:
                folder.rename(final)
            except OSError:
                if self.find(key) is None:
                    raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def folder(self, key: Mapping[str, Any]) -> Path:
        """Where the artifact with that key belongs."""
        digest = hashlib.sha256(canonical_json(key).encode()).hexdigest()[:32]
        return self._root / str(key["kind"]) / digest


def _key_in(folder: Path) -> str:
    return (folder / KEY_FILE).read_text(encoding="utf-8", errors="replace")
