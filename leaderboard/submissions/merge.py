"""Records of several folders put together in one, with an answer for every cell that is there more than once.

- the same record twice: one is kept
- failed or skipped in one folder, measured in another: the measured one is kept
- measured twice, with figures that the gate would call the same: the newer one is kept
- measured twice, with figures that differ: a conflict, which only a person can answer
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import store
from ..errors import RecordError
from ..gate.compare import compare
from ..gate.judging import Rules
from ..gate.verdict import Class, name_of
from ..gate.wording import sentence
from ..record import Record, to_json

_DIFFER = (Class.REGRESSED, Class.IMPROVED, Class.NEWLY_FAILING, Class.FIXED)


@dataclass(frozen=True)
class Merged:
    """What a merge found."""

    kept: Mapping[Path, Record]
    """What goes into the folder, by where it came from."""
    answers: Sequence[str]
    """What was done about cells that were there more than once, a sentence each."""
    conflicts: Sequence[str]
    """Cells on which two records differ."""


def merge(folders: Sequence[Path], rules: Rules) -> Merged:
    """Choose one record for every cell below some folders.

    Raises:
        RecordError: a folder does not exist, or a file holds no record.
    """
    files = store.read_files(folders)
    if files.problems:
        told = "; ".join(f"{problem.path}: {problem.message}" for problem in files.problems)
        raise RecordError(f"nothing was merged, because not every file holds a record; mend or remove {told}")
    cells: dict[str, list[Path]] = defaultdict(list)
    for path, record in files.records.items():
        # Cells of two suites may be the same; in one folder they are if their files have one name.
        cells[store.cell_path(".", record.labels, record.cell_id).name].append(path)
    kept: dict[Path, Record] = {}
    answers: list[str] = []
    conflicts: list[str] = []
    for paths in cells.values():
        chosen = max(paths, key=lambda path: _worth(files.records[path]))
        kept[chosen] = files.records[chosen]
        for other in paths:
            if other != chosen:
                (answer, is_conflict) = _answer(files.records[chosen], chosen, files.records[other], other, rules)
                (conflicts if is_conflict else answers).append(answer)
    return Merged(kept, answers, conflicts)


def write(merged: Merged, folder: Path) -> None:
    """Put the kept records, and the tables that lie beside them, into a folder."""
    for path, record in merged.kept.items():
        place = store.write(record, folder)
        table = path.parent.parent / store.FEATURES_FOLDER / path.with_suffix(".parquet").name
        target = folder / store.FEATURES_FOLDER / place.with_suffix(".parquet").name
        if table.is_file() and table.resolve() != target.resolve():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(table, target)


def _worth(record: Record) -> tuple[bool, str, str]:
    """What sorts records of one cell: measured ones last, then by time; the text breaks ties."""
    return (record.status == "ok", record.created_at, to_json(record))


def _answer(chosen: Record, path: Path, other: Record, beside: Path, rules: Rules) -> tuple[str, bool]:
    name = f"{name_of(chosen)} ({chosen.cell_id})"
    if to_json(chosen) == to_json(other):
        return f"{name}: the same record in {path} and {beside}", False
    if chosen.status == "ok" and other.status != "ok":
        return f"{name}: kept {path}; in {beside} it {other.status}", False
    differing = compare([other], [chosen], rules).of(*_DIFFER)
    if differing:
        return f"{name}: {path} and {beside} differ: {sentence(differing[0])}; {len(differing)} figures in all", True
    return f"{name}: kept the newer {path} ({chosen.created_at}), not {beside} ({other.created_at})", False
