"""The records that a baseline should hold from now on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import store
from ..errors import RecordError
from ..record import Record
from .matching import match


def successor(base: Sequence[Record], new: Sequence[Record]) -> list[Record]:
    """The new records; of a cell that had figures and has none now the old one, so that it still counts as lost."""
    return [
        pair.base if pair.base is not None and pair.base.status == "ok" and pair.new.status != "ok" else pair.new
        for pair in match(base, new)
        if pair.new is not None
    ]


def write(records: Sequence[Record], folder: Path) -> int:
    """Make `folder` a baseline of these records and no others; returns how many other records were taken out.

    Files that hold no record are left alone.
    """
    kept = {store.write(record, folder) for record in records}
    others = [path for path in sorted((folder / store.CELLS_FOLDER).glob("*.json")) if path not in kept]
    return sum(_removed(path) for path in others)


def _removed(path: Path) -> bool:
    try:
        store.read(path)
    except RecordError:
        return False
    path.unlink()
    return True
