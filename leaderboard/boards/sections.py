"""The order of the table of cells: the SAEs one after the other, and the states of each from the smallest gap on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from ..record import Record
from ..text import printable
from .columns import GAP
from .states import is_dense, sae_title, source_place


@dataclass(frozen=True)
class Section:
    """One SAE entry on every state it was measured on."""

    title: str
    records: tuple[Record, ...]
    """Dense first, then from the smallest transfer gap on; cells without one, skipped and failed, at the end."""


def sections(records: Iterable[Record]) -> list[Section]:
    """Frozen SAEs first, then the other sources; one section for each entry and site."""
    divided: dict[tuple[bool, int, str, str], list[Record]] = defaultdict(list)
    for record in records:
        divided[(*source_place(record), sae_title(record), printable(record.spec.site))].append(record)
    several_sites = len({site for *_, site in divided}) > 1
    return [_section(divided[rank], several_sites) for rank in sorted(divided)]


def _section(records: list[Record], with_site: bool) -> Section:
    title = sae_title(records[0])
    if with_site:
        title = f"{title} at {printable(records[0].spec.site)}"
    return Section(title, tuple(sorted(records, key=_row_order)))


def _row_order(record: Record) -> tuple[int, bool, float, str, str]:
    measurement = record.metrics.get(GAP) if record.status == "ok" else None
    gap = measurement.value if measurement is not None else None
    return (
        ("ok", "skipped", "failed").index(record.status),
        not is_dense(record),
        math.inf if gap is None else gap,
        record.labels.compressor,
        record.cell_id,
    )
