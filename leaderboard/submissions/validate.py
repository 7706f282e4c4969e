"""What a leaderboard accepts: whole records that are what they say, controls that hold, no cell twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import store
from ..boards.controls import violations
from ..boards.states import is_dense
from ..gate.gauge import Gauge
from ..record import Record
from ..text import printable
from .checks import Mistake, mistakes


@dataclass(frozen=True)
class Report:
    """What is wrong, by file; what concerns no single file stands under the folder."""

    n_files: int
    found: Mapping[Path, Sequence[Mistake]]

    @property
    def n_errors(self) -> int:
        """How many mistakes a leaderboard would refuse the records for."""
        return sum(mistake.is_error for mistakes in self.found.values() for mistake in mistakes)

    @property
    def digest(self) -> str:
        """The outcome in one sentence."""
        n_warnings = sum(map(len, self.found.values())) - self.n_errors
        outcome = "Not acceptable" if self.n_errors else "Acceptable"
        counts = ((self.n_files, "record"), (self.n_errors, "mistake"), (n_warnings, "warning"))
        told = (f"{count} {word if count == 1 else f'{word}s'}" for count, word in counts)
        return f"{outcome}: {', '.join(told)}."


def validate(folders: Sequence[Path], gauges: Mapping[str, Gauge]) -> Report:
    """Look at every record below some folders.

    Raises:
        RecordError: one of the folders does not exist.
    """
    files = store.read_files(folders)
    found: dict[Path, list[Mistake]] = defaultdict(list)
    for problem in files.problems:
        found[problem.path].append(Mistake(problem.message, "mend or remove the file"))
    for path, record in files.records.items():
        found[path] += mistakes(record, gauges, path)
    for path, mistake in (
        *_violated(files.records),
        *_twice(files.records),
        *_without_controls(files.records, folders),
    ):
        found[path].append(mistake)
    return Report(
        len(files.records) + len(files.problems), {path: found[path] for path in sorted(found) if found[path]}
    )


def _violated(records: Mapping[Path, Record]) -> Iterator[tuple[Path, Mistake]]:
    told = violations(records.values())
    for path, record in records.items():
        for message in told.get(record.cell_id, []):
            yield path, Mistake(f"a control does not hold: {printable(message)}", "find out why before anything else")


def _twice(records: Mapping[Path, Record]) -> Iterator[tuple[Path, Mistake]]:
    first: dict[tuple[str, str], Path] = {}
    for path, record in records.items():
        # Two suites may have a cell in common.
        other = first.setdefault((record.labels.suite, record.cell_id), path)
        if other != path:
            yield path, Mistake(f"the same cell lies in {other}", "keep one of them; `merge` says which differ")


def _without_controls(records: Mapping[Path, Record], folders: Sequence[Path]) -> Iterator[tuple[Path, Mistake]]:
    by_model: dict[str, list[Record]] = defaultdict(list)
    for record in records.values():
        by_model[printable(record.labels.model)].append(record)
    for model, own in sorted(by_model.items()):
        if not any(is_dense(record) for record in own):
            yield folders[0], Mistake(f"{model} has no dense state", "run the suite with `dense` among its compressors")
        if not any(record.labels.sae_source == "random" for record in own):
            remedy = "add {name: random, source: random, like: SAE} to the suite"
            yield folders[0], Mistake(f"{model} has no random SAE, the negative control", remedy, False)
