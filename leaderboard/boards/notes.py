"""What a table says in words: how cells ended, what is missing, and what a reader has to know before comparing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ..record import Record
from ..text import printable, shortened
from .cells import Cell
from .columns import COLUMNS
from .groups import ComparableRecords, differences

_MESSAGE_LENGTH = 48
_PACKAGES = ("torch", "transformers")


def status(record: Record) -> str:
    """How a cell ended, in a few words."""
    if record.error is not None:
        return shortened(failure(record), _MESSAGE_LENGTH)
    unverified = (record.compression or {}).get("verified") is False
    return "ok, compression not verified" if unverified else "ok"


def short_status(record: Record) -> str:
    """How a cell ended, in the fewest words: without the message."""
    return f"{record.status} ({printable(record.error.phase)})" if record.error is not None else record.status


def ending(records: Sequence[Record]) -> Cell:
    """How the cells of a state ended; where all failed alike, why."""
    found = Counter(record.status for record in records)
    messages = {failure(record) for record in records}
    if not found["ok"] and len(messages) == 1:
        (message,) = messages
        return Cell(shortened(message, _MESSAGE_LENGTH), short=short_status(records[0]))
    return Cell(", ".join(f"{found[name]} {name}" for name in ("ok", "failed", "skipped") if found[name]))


def failure(record: Record) -> str:
    """How a cell without figures ended, with the whole message; empty for one that has figures."""
    error = record.error
    return f"{record.status} ({printable(error.phase)}): {printable(error.message)}" if error is not None else ""


def counts(records: Sequence[Record]) -> str:
    """How many cells ended in which way, and how many of their grids are not there."""
    found = Counter(record.status for record in records)
    return f"{found['ok']} ok, {found['failed']} failed, {found['skipped']} skipped, {len(missing(records))} missing"


def notes(group: ComparableRecords, groups: Iterable[ComparableRecords]) -> list[str]:
    """What a reader must know about a table, one sentence each."""
    told = []
    if different := differences(group, groups):
        told.append(f"Not comparable with the other tables of this model; here: {', '.join(different)}.")
    if absent := missing(group.records):
        cells = ", ".join(f"{printable(sae)} on {printable(compressor)}" for sae, compressor in absent)
        told.append(f"Missing from the grid: {cells}.")
    return told + _warnings(group.records) + _reasons(group.records)


def versions(records: Iterable[Record]) -> str:
    """The versions that made the records; several of one package stand beside each other."""
    found: dict[str, set[str]] = defaultdict(set)
    for record in records:
        packages = record.environment.get("packages")
        named = packages if isinstance(packages, dict) else {}
        for name, version in [("saetransfer", record.environment.get("saetransfer")), *named.items()]:
            if name in ("saetransfer", *_PACKAGES) and isinstance(version, str):
                found[name].add(printable(version))
    return "; ".join(
        f"{name} {', '.join(sorted(found[name]))}" for name in ("saetransfer", *_PACKAGES) if name in found
    )


def missing(records: Iterable[Record]) -> list[tuple[str, str]]:
    """Combinations of an SAE and a compressor of one suite that have no record."""
    names = [(record.labels.suite, record.labels.sae, record.labels.compressor) for record in records]
    present = {(sae, compressor) for _, sae, compressor in names}
    expected = {
        (sae, compressor)
        for suite in {suite for suite, _, _ in names}
        for sae in {sae for own, sae, _ in names if own == suite}
        for compressor in {compressor for own, _, compressor in names if own == suite}
    }
    return sorted(expected - present)


def _warnings(records: Iterable[Record]) -> list[str]:
    told = set()
    for record in records:
        warnings = (record.compression or {}).get("warnings")
        for warning in warnings if isinstance(warnings, list) else []:
            told.add(f"Warning about {printable(record.labels.compressor)}: {printable(str(warning))}")
    return sorted(told)


def _reasons(records: Iterable[Record]) -> list[str]:
    """Why figures of the table have no value; cells with the same reason in one sentence."""
    cells: dict[tuple[str, str], set[str]] = defaultdict(set)
    shown = {column.metric: column.title for column in COLUMNS if column.metric}
    for record in records:
        for metric, title in shown.items():
            measurement = record.metrics.get(metric)
            if measurement is not None and measurement.value is None:
                where = f"{printable(record.labels.sae)} on {printable(record.labels.compressor)}"
                cells[title, printable(measurement.reason or "no reason given")].add(where)
    return [f"No {title} for {', '.join(sorted(cells[title, why]))}: {why}" for title, why in sorted(cells)]
