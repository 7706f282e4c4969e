"""Folders on their way from one machine to another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ....registry.files import SEAL
from ..artifacts import KEY_FILE

Parcel = dict[str, np.ndarray]
"""Bytes of files, by path relative to their folder."""


def packed(folder: Path, names: Iterable[str]) -> Parcel:
    """Files below a folder; mapped into memory, so that a large one is read as it is sent."""
    return {name: _bytes_of(folder / name) for name in names}


def artifact_parcel(folder: Path) -> Parcel:
    """What was put into an artifact; whoever unpacks it writes key and seal anew."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return packed(folder, sorted(name for name in files if name not in (KEY_FILE, SEAL)))


def unpack(parcel: Parcel, folder: Path) -> None:
    """Write the files of a parcel into a folder."""
    for name, content in parcel.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content.tofile(path)


def _bytes_of(file: Path) -> np.ndarray:
    if not file.stat().st_size:  # an empty file cannot be mapped
        return np.zeros(0, dtype=np.uint8)
    return np.memmap(file, dtype=np.uint8, mode="r")
