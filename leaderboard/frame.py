"""Records as a table for analysis: one row a figure.

Ten thousand records hold more than a million figures, so only what the table needs is read of each file, straight from
its JSON, and columns are put together from codes rather than from rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from .errors import RecordError
from .record import SCHEMA_VERSION, parse
from .store import Problem, record_files

_LEAN = ConfigDict(extra="ignore", allow_inf_nan=False)
_NAMES = ("model", "compressor", "sae", "sae_source", "site", "text", "suite")
_NUMBERS = ("value", "ci_low", "ci_high", "half_1", "half_2")


class _Labels(TypedDict):
    __pydantic_config__ = _LEAN  # pyright: ignore[reportGeneralTypeIssues]
    suite: str
    model: str
    compressor: str
    sae: str
    sae_source: str
    text: str


class _Spec(TypedDict):
    __pydantic_config__ = _LEAN  # pyright: ignore[reportGeneralTypeIssues]
    site: str


class _Figure(TypedDict, total=False):
    __pydantic_config__ = _LEAN  # pyright: ignore[reportGeneralTypeIssues]
    value: float | None
    unit: str
    ci: tuple[float, float] | None
    n: int | None
    halves: tuple[float, float] | None


class _Lean(TypedDict):
    """Of a record, what the table holds."""

    __pydantic_config__ = _LEAN  # pyright: ignore[reportGeneralTypeIssues]
    schema_version: int
    cell_id: str
    status: Literal["ok", "failed", "skipped"]
    created_at: str
    labels: _Labels
    spec: _Spec
    metrics: dict[str, _Figure]


_READER = TypeAdapter(_Lean)


def load(*folders: str | Path) -> pd.DataFrame:
    """All records below some folders, one row a figure.

    A cell without figures has one row without a metric, so that it is still counted. Files that hold no record are
    warned of and left out; of several records of the same cell under the same labels the newest counts. Only what the
    table holds is checked: `saetransfer validate` checks whole records.

    Raises:
        RecordError: one of the folders does not exist.
    """
    found, problems = _read(record_files(folders))
    for problem in problems:
        warnings.warn(f"{problem.path}: {problem.message}", stacklevel=2)
    return _table(found)


def _read(paths: Iterable[Path]) -> tuple[list[_Lean], list[Problem]]:
    newest: dict[tuple[str, ...], tuple[tuple[str, bytes], _Lean]] = {}
    problems = []
    for path in paths:
        try:
            content = path.read_bytes()
            record = _lean(content)
        except OSError as error:
            problems.append(Problem(path, f"cannot be read: {error.strerror or error}"))
            continue
        except RecordError as error:
            problems.append(Problem(path, str(error)))
            continue
        key = _order(record)
        time = record["created_at"].removesuffix("Z").removesuffix("+00:00")
        if key not in newest or (time, content) > newest[key][0]:
            newest[key] = ((time, content), record)
    return [newest[key][1] for key in sorted(newest)], problems


def _lean(content: bytes) -> _Lean:
    try:
        record = _READER.validate_json(content)
        if record["schema_version"] <= SCHEMA_VERSION:
            return record
    except ValidationError:
        pass
    # What is wrong with it, in the words of the reader of whole records.
    parse(content)
    raise RecordError("not a record: metrics without values, or names that are no text")


def _order(record: _Lean) -> tuple[str, ...]:
    labels = record["labels"]
    names = (labels["model"], labels["compressor"], labels["sae"], labels["sae_source"], labels["suite"])
    return *names, record["cell_id"]


@dataclass
class _Codes:
    """A column of repeated texts: each text once, and which of them stands in each row."""

    texts: dict[str, int] = field(default_factory=dict)
    codes: list[int] = field(default_factory=list)

    def add(self, text: str) -> None:
        """One more row."""
        self.codes.append(self.texts.setdefault(text, len(self.texts)))

    def missing(self) -> None:
        """One more row without a text."""
        self.codes.append(-1)

    def column(self, counts: Sequence[int] | None = None) -> pd.api.extensions.ExtensionArray:
        """The column; each row so many times, if counts are given."""
        codes = np.asarray(self.codes, np.intp)
        repeated = codes if counts is None else np.repeat(codes, counts)
        return pd.array(list(self.texts), dtype="string").take(repeated, allow_fill=True)


def _table(records: Sequence[_Lean]) -> pd.DataFrame:
    """Columns of names, repeated for each figure of a record, and columns of figures."""
    names = {name: _Codes() for name in (*_NAMES, "status", "cell_id")}
    metric, unit = _Codes(), _Codes()
    numbers: list[tuple[float | None, ...]] = []
    counts = []
    for record in records:
        for name, text in _names_of(record).items():
            names[name].add(text)
        counts.append(max(1, len(record["metrics"])))
        if not record["metrics"]:
            metric.missing()
            unit.missing()
            numbers.append((None,) * (len(_NUMBERS) + 1))
        for name, figure in record["metrics"].items():
            metric.add(name)
            unit.add(figure.get("unit", "1"))
            low, high = figure.get("ci") or (None, None)
            first, second = figure.get("halves") or (None, None)
            numbers.append((figure.get("value"), low, high, first, second, figure.get("n")))
    columns = np.asarray(numbers, np.float64).reshape(-1, len(_NUMBERS) + 1)
    return pd.DataFrame(
        {
            **{name: names[name].column(counts) for name in _NAMES},
            "metric": metric.column(),
            **{name: columns[:, place] for place, name in enumerate(_NUMBERS)},
            "n": pd.array(columns[:, -1], dtype="Int64"),
            "unit": unit.column(),
            "status": names["status"].column(counts),
            "cell_id": names["cell_id"].column(counts),
        }
    )


def _names_of(record: _Lean) -> dict[str, str]:
    labels = record["labels"]
    return {
        "model": labels["model"],
        "compressor": labels["compressor"],
        "sae": labels["sae"],
        "sae_source": labels["sae_source"],
        "site": record["spec"]["site"],
        "text": labels["text"],
        "suite": labels["suite"],
        "status": record["status"],
        "cell_id": record["cell_id"],
    }
