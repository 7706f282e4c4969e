"""Fingerprints of files: what a file holds, whatever it is called and wherever it lies.

A folder can be sealed: a list of its files with their fingerprints tells later whether all of them are there and whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

LENGTH = 32
"""Hexadecimal digits of a fingerprint."""

SEAL = "files.json"
"""The list of a sealed folder."""


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


def seal(folder: Path) -> None:
    """Write down in a folder what each of its files holds."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(folder).as_posix(): content_hash(path) for path in files}
    (folder / SEAL).write_text(json.dumps(hashes), encoding="utf-8")


def is_whole(folder: Path) -> bool:
    """Whether a folder was sealed, and each of its files holds what it held then."""
    try:
        hashes = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        return isinstance(hashes, dict) and all(content_hash(folder / name) == found for name, found in hashes.items())
    except (OSError, ValueError):  # not there, cut short, or somebody removes it meanwhile
        return False


@cache
def _content_hash(path: Path, _size_bytes: int, _modified_ns: int) -> str:
    """Size and time are part of the cache's key, so that a file that changes within a process is read again."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()[:LENGTH]
