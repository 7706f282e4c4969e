"""Which SAEs are not comparable in sparsity: their L0 is too far from that of the SAE made for the dense model.

An SAE with more active latents reconstructs better for that reason alone, so a comparison at unequal L0 says little.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ..record import Record
from .columns import L0
from .states import is_frozen, state_key

UNMATCHED = "†"
TOLERANCE = 0.2
"""Largest relative difference of L0 at which two SAEs still count as matched."""


def unmatched(records: Iterable[Record]) -> set[str]:
    """Ids of cells whose L0 differs by more than the tolerance from every frozen SAE's at that site and state."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[state_key(record), record.spec.site].append(record)
    return {cell for group in groups.values() for cell in _unmatched_in(group)}


def _unmatched_in(records: list[Record]) -> list[str]:
    references = [l0 for record in records if is_frozen(record) and (l0 := _l0(record))]
    others = [(record.cell_id, l0) for record in records if not is_frozen(record) and (l0 := _l0(record)) is not None]
    if not references:
        return []
    return [cell for cell, l0 in others if all(abs(l0 - wanted) > TOLERANCE * wanted for wanted in references)]


def _l0(record: Record) -> float | None:
    measurement = record.metrics.get(L0)
    return measurement.value if measurement is not None else None
