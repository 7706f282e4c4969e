"""One run at a time in a folder of records. The lock is the system's own: a process that dies gives it back."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import UsageError
from .environment import now

_LOCK = ".lock"
_OWNER = ".lock-owner.json"


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Hold a folder of records, which is made where it is not there.

    Raises:
        UsageError: another run holds it, or nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        lock.acquire(blocking=False)
    except Timeout:
        raise UsageError(
            f"Another run is at work in {folder}{_owner(folder)}. Wait for it, or give another --out."
        ) from None
    except OSError as error:
        raise UsageError(f"Records cannot be written to {folder}: {error.strerror}. Give another --out.") from error
    try:
        owner = {"pid": os.getpid(), "host": platform.node(), "since": now()}
        (folder / _OWNER).write_text(json.dumps(owner), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            (folder / _OWNER).unlink()
        lock.release()


def _owner(folder: Path) -> str:
    """Who holds it, where that can be read."""
    try:
        found = json.loads((folder / _OWNER).read_text(encoding="utf-8"))
        return f" (process {found['pid']} on {found['host']}, since {found['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
