"""The order of a table: the SAEs one after the other, and the states of each from the smallest transfer gap on."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..record import Record
from ..text import printable
from .columns import GAP

SOURCES = ("pretrained", "trained", "finetuned", "pruned", "random")


@dataclass(frozen=True)
class Section:
    """One SAE entry on every state it was measured on."""

    title: str
    records: tuple[Record, ...]
    """Dense first, then from the smallest transfer gap on; cells without one, skipped and failed, at the end."""
    best: frozenset[str]
    """Ids of the cells with the smallest gap, where at least two compressed states compete."""


def is_dense(record: Record) -> bool:
    """Whether the cell's state is the model as it was."""
    return not record.spec.compressor


def is_frozen(record: Record) -> bool:
    """Whether the SAE was made for the dense model: a pretrained one, or one trained on the dense state."""
    source = record.labels.sae_source
    return source == "pretrained" or (source == "trained" and record.spec.sae.get("on") == "dense")


def sections(records: Iterable[Record]) -> list[Section]:
    """Frozen SAEs first, then the other sources; one section for each entry and site."""
    divided: dict[tuple[bool, int, str, str], list[Record]] = defaultdict(list)
    for record in records:
        divided[_rank(record)].append(record)
    several_sites = len({site for *_, site in divided}) > 1
    return [_section(divided[rank], several_sites) for rank in sorted(divided)]


def gap_of(record: Record) -> float | None:
    """The transfer gap, where the cell has one."""
    measurement = record.metrics.get(GAP)
    return measurement.value if measurement is not None and record.status == "ok" else None


def state_namer(records: Iterable[Record]) -> Callable[[Record], str]:
    """Names of states; cells that differ although their names do not get the start of their id."""
    uses = Counter(_names(record) for record in records)

    def name(record: Record) -> str:
        suffix = f" #{record.cell_id[:6]}" if uses[_names(record)] > 1 else ""
        return printable(record.labels.compressor) + suffix

    return name


def _names(record: Record) -> tuple[str, str, str]:
    return (_title(record), record.spec.site, printable(record.labels.compressor))


def _rank(record: Record) -> tuple[bool, int, str, str]:
    source = record.labels.sae_source
    position = SOURCES.index(source) if source in SOURCES else len(SOURCES)
    return (not is_frozen(record), position, _title(record), printable(record.spec.site))


def _title(record: Record) -> str:
    name, source = printable(record.labels.sae), printable(record.labels.sae_source)
    if source == "trained" and is_frozen(record):
        source = "trained on dense"
    return name if name == source else f"{name} ({source})"


def _section(records: list[Record], with_site: bool) -> Section:
    ordered = tuple(sorted(records, key=_row_order))
    rivals = {record.cell_id: gap for record in records if (gap := gap_of(record)) is not None and not is_dense(record)}
    # Among states of a random SAE there is nothing to win: it is the control.
    contested = len(rivals) > 1 and records[0].labels.sae_source != "random"
    best = {cell for cell, gap in rivals.items() if gap == min(rivals.values())} if contested else set()
    title = _title(records[0])
    if with_site:
        title = f"{title} at {printable(records[0].spec.site)}"
    return Section(title, ordered, frozenset(best))


def _row_order(record: Record) -> tuple[int, bool, float, str, str]:
    gap = gap_of(record)
    status = ("ok", "skipped", "failed").index(record.status)
    return (
        status,
        not is_dense(record),
        math.inf if gap is None else gap,
        record.labels.compressor,
        record.cell_id,
    )
