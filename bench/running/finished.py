"""The mark of a finished run: what its records were made from.

As long as none of that has changed, and all records are there, the same command has nothing to do; and that can be
seen without planning, which takes the libraries that load models. It is kept beside the records.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

from ...leaderboard import store
from ...leaderboard.boards.columns import Definition
from ...leaderboard.errors import RecordError
from ...leaderboard.record import Record, canonical_json
from ..planning.named_files import files_at, named_paths, stamp
from ..planning.suite import SuiteFile

_FILE = "finished.json"
_PACKAGE = Path(__file__).parents[2]
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FOLDERS = ("bench", "registry", "tasks", "leaderboard")


@dataclass(frozen=True)
class Finished:
    """What a finished run left."""

    records: list[Record]
    definitions: dict[str, Definition]


def mark(
    out: Path, source: SuiteFile, only: str | None, records: Sequence[Record], definitions: Mapping[str, Definition]
) -> None:
    """Note that all cells have records; not where a suite names a branch of the hub, which may move."""
    if not _is_pinned(source.suite.model_dump()):
        (out / _FILE).unlink(missing_ok=True)
        return
    content = {
        "made_from": _made_from(source, only),
        "records": [store.cell_path(out, record.labels, record.cell_id).name for record in records],
        "definitions": {name: list(definition) for name, definition in definitions.items()},
    }
    with suppress(OSError):  # without the mark, the next run only takes longer
        (out / _FILE).write_text(canonical_json(content), encoding="utf-8")


def find(out: Path, source: SuiteFile, only: str | None) -> Finished | None:
    """What the same command left when it was finished; None where it was not, or anything may be otherwise now."""
    try:
        content = json.loads((out / _FILE).read_text(encoding="utf-8"))
        if content["made_from"] != _made_from(source, only):
            return None
        records = [store.read(out / store.CELLS_FOLDER / name) for name in content["records"]]
        definitions = {name: Definition(*fields) for name, fields in content["definitions"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecordError):  # not there, or not whole
        return None
    return Finished(records, definitions)


def _is_pinned(value: Any) -> bool:
    """Whether all that a suite takes from the hub is named with a commit."""
    if isinstance(value, dict):
        if value.get("hub") is not None and not _COMMIT.fullmatch(str(value.get("revision"))):
            return False
        return all(_is_pinned(part) for part in value.values())
    return not isinstance(value, list | tuple) or all(_is_pinned(part) for part in value)


def _made_from(source: SuiteFile, only: str | None) -> str:
    """Hash of all that decides which cells there are, and what their ids are."""
    files = {file for path in named_paths(source) for file in files_at(path, source.folder)}
    program = {file for name in _FOLDERS for file in (_PACKAGE / name).rglob("*.*") if file.suffix in (".py", ".yaml")}
    plugins = entry_points(group="saetransfer.compressors")
    content: dict[str, Any] = {
        "suite": source.text,
        "overrides": source.overrides,
        "trusts_remote_code": source.trusts_remote_code,
        "folder": str(source.folder),
        "only": only,
        "files": {str(file): stamp(file) for file in files},
        "program": {str(file.relative_to(_PACKAGE)): stamp(file) for file in program},
        "plugins": sorted(f"{point.value} {point.dist.version if point.dist else ''}" for point in plugins),
        "version": version("saetransfer"),
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()
