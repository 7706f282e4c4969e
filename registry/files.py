"""Fingerprints of files: what a file holds, whatever it is called and wherever it lies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

LENGTH = 32
"""Hexadecimal digits of a fingerprint."""


def content_hash(path: Path) -> str:
    """Hash of what a file holds."""
    status = path.stat()
    return _content_hash(path, status.st_size, status.st_mtime_ns)


def fingerprint(paths: Iterable[Path]) -> str:
    """Hash of the names (without folders) and contents of files, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        total.update(f"{path.name}\n{content_hash(path)}\n".encode())
    return total.hexdigest()[:LENGTH]


@cache
def _content_hash(path: Path, _size_bytes: int, _modified_ns: int) -> str:
    """Size and time are part of the cache's key, so that a file that changes within a process is read again."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()[:LENGTH]
