"""Records on disk: one file a cell, written so that a reader sees a whole record or none.

A record is written to a temporary file beside its place, flushed to the disk and renamed over it. Temporary names
start with a dot and end in `.tmp`, which no reader looks at, so a process that dies half-way leaves litter, not harm.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .errors import RecordError
from .record import Labels, Record, parse, to_json

CELLS_FOLDER = "cells"
FEATURES_FOLDER = "features"
SLUG_LENGTH = 40
STALE_SECONDS = 3600.0
"""Age at which a temporary file is nobody's: writing a record takes milliseconds."""


@dataclass(frozen=True)
class Problem:
    """A file that holds no usable record, and why."""

    path: Path
    message: str


@dataclass(frozen=True)
class Files:
    """What was found in some folders, file by file."""

    records: Mapping[Path, Record]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Records:
    """What was found in some folders."""

    records: tuple[Record, ...]
    problems: tuple[Problem, ...]


def slug(name: str) -> str:
    """A name made safe for one part of a file name; different names may give the same slug."""
    # A double underscore separates the parts of a file name, so it may not stand within one.
    safe = re.sub(r"__+", "_", re.sub(r"[^A-Za-z0-9._-]+", "-", name)).strip("._")
    return safe[:SLUG_LENGTH].rstrip("._") or "unnamed"


def cell_path(folder: str | Path, labels: Labels, cell_id: str) -> Path:
    """Where the record of a cell belongs, `<folder>/cells/<model>__<compressor>__<sae>__<id>.json`.

    The names are for people; the id keeps cells apart whose names become the same slug.
    """
    parts = (slug(labels.model), slug(labels.compressor), slug(labels.sae), slug(cell_id))
    return Path(folder) / CELLS_FOLDER / f"{'__'.join(parts)}.json"


def table_path(folder: str | Path, labels: Labels, cell_id: str) -> Path:
    """Where the table of a cell's latents belongs: named as its record, in `<folder>/features/`."""
    return Path(folder) / FEATURES_FOLDER / cell_path(folder, labels, cell_id).with_suffix(".parquet").name


def write(record: Record, folder: str | Path) -> Path:
    """Put a record into its place under `folder`, whole or not at all, and return that place."""
    path = cell_path(folder, record.labels, record.cell_id)
    with _whole(path) as file:
        file.write(to_json(record).encode())
    return path


def write_table(record: Record, columns: Mapping[str, np.ndarray], folder: str | Path) -> Path:
    """Put a table of a cell's latents beside its record, as Parquet, whole or not at all, and return its place."""
    import pyarrow
    from pyarrow import parquet

    path = table_path(folder, record.labels, record.cell_id)
    with _whole(path) as file:
        parquet.write_table(pyarrow.table(dict(columns)), file)
    return path


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file to be written; it stands in its place when the context ends without an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def read(path: str | Path) -> Record:
    """The record in a file.

    Raises:
        RecordError: the file cannot be read or holds no record; the message names the file.
    """
    try:
        return parse(Path(path).read_bytes())
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from error
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from error


def read_files(folders: Iterable[str | Path]) -> Files:
    """Every file below some folders that is, or should be, a record.

    Raises:
        RecordError: one of the folders does not exist.
    """
    records: dict[Path, Record] = {}
    problems: list[Problem] = []
    for path in record_files(folders):
        try:
            records[path] = read(path)
        except RecordError as error:
            problems.append(Problem(path, str(error).removeprefix(f"{path}: ")))
    return Files(records, tuple(problems))


def read_all(folders: Iterable[str | Path]) -> Records:
    """Every record below some folders, in an order that depends on what they say and not on where they lie.

    A file that holds no record becomes a problem and stops nothing. Of several records of the same cell under the
    same labels the newest counts.

    Raises:
        RecordError: one of the folders does not exist.
    """
    files = read_files(folders)
    newest: dict[tuple[str, ...], Record] = {}
    for record in files.records.values():
        key = _order(record)
        if key not in newest or _time_of(record) > _time_of(newest[key]):
            newest[key] = record
    return Records(tuple(newest[key] for key in sorted(newest)), files.problems)


def remove_stale_temporaries(folder: str | Path, older_than_seconds: float = STALE_SECONDS) -> list[Path]:
    """Delete what writers that died left under `folder`; fresh ones may belong to a writer on another machine."""
    removed = []
    places = (Path(folder) / CELLS_FOLDER, Path(folder) / FEATURES_FOLDER)
    for path in sorted(path for place in places for path in place.glob(".*__*.*.tmp")):
        # Its writer may finish, or another reader delete it, between the listing and here.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime >= older_than_seconds:
                path.unlink()
                removed.append(path)
    return removed


def record_files(folders: Iterable[str | Path]) -> list[Path]:
    """Every file below some folders that lies where records do.

    Raises:
        RecordError: one of the folders does not exist.
    """
    found: set[Path] = set()
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise RecordError(
                f"{folder}: no such folder; give the folder of a run, the one that holds `{CELLS_FOLDER}/`"
            )
        # A relative `.` has no name of its own.
        here = (
            folder.glob("*.json") if folder.resolve().name == CELLS_FOLDER else folder.rglob(f"{CELLS_FOLDER}/*.json")
        )
        found.update(path for path in here if not path.name.startswith("."))
    return sorted(found)


def _order(record: Record) -> tuple[str, ...]:
    labels = record.labels
    return (labels.model, labels.compressor, labels.sae, labels.sae_source, labels.suite, record.cell_id)


def _time_of(record: Record) -> tuple[str, str]:
    """Sorts as time does; the text of the record breaks ties, so that the order of files never counts."""
    return record.created_at.removesuffix("Z").removesuffix("+00:00"), to_json(record)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems refuse to sync a folder; the rename is atomic there all the same.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
