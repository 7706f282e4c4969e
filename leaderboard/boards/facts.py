"""What stands in the open fields of a record: about the compression, the SAE, and what making it took.

These fields may hold anything; what is not a finite number counts as not known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..record import Record


def number_in(facts: Any, key: str) -> float | None:
    """A number from a part of a record whose fields are open."""
    value = facts.get(key) if isinstance(facts, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def compression(record: Record, name: str) -> float | None:
    """What verification measured on the weights: `sparsity`, `effective_bits`, `weight_error`, `output_error`."""
    return number_in(record.compression, name)


def size_bytes(record: Record, kind: str = "theoretical") -> float | None:
    """Bytes of the state's weights: `theoretical` (smallest layout), `actual` (in memory) or `dense` (the model's)."""
    return number_in((record.compression or {}).get("bytes"), kind)


def relative_size(record: Record) -> float | None:
    """Smallest layout over the dense model's bytes."""
    smallest, dense = size_bytes(record), size_bytes(record, "dense")
    return smallest / dense if smallest is not None and dense else None


def training_seconds(record: Record) -> float | None:
    """Wall time of making this SAE for this state; None for one that was there before the model was compressed."""
    return None if _made_before(record) else number_in((record.sae or {}).get("cost"), "seconds")


def training_tokens(record: Record) -> float | None:
    """Tokens that were read to make it; None as for the time."""
    return None if _made_before(record) else number_in((record.sae or {}).get("cost"), "tokens")


def sae_bytes(record: Record) -> float | None:
    """Bytes of the SAE's weights in the smallest layout."""
    return number_in(record.sae, "smallest_bytes")


def sae_tokens_per_second(record: Record) -> float | None:
    """How fast the SAE encodes and decodes."""
    return number_in(record.sae, "tokens_per_second")


def _made_before(record: Record) -> bool:
    return record.labels.sae_source in ("pretrained", "random") or record.spec.sae.get("on") == "dense"
