"""Which costs of two records may be compared: those of the same hardware, used in the same way, doing the same work.

A time says as much about the machine as about the state. Nothing in the leaderboard puts two costs side by side, in
a rank or in a verdict, without asking here first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from .record import Record, canonical_json

TASK = "cost"
"""The task that measures costs, by which its part of the details is found."""

_CONDITIONS = {"device": "on device", "threads": "threads", "jobs": "states measured at a time"}
"""What the environment says of how a machine was used, with its words."""


def incomparable(one: Record, other: Record) -> str | None:
    """Why costs of two records cannot be compared; None where they can."""
    if one.hardware is None or other.hardware is None:
        return "a record does not say on what hardware it was made"
    if one.hardware != other.hardware:
        return f"other hardware: {one.hardware.text} against {other.hardware.text}"
    for key, words in _CONDITIONS.items():
        here, there = one.environment.get(key), other.environment.get(key)
        if here != there:
            return f"the same hardware used otherwise: {words} {here} against {there}"
    here, there = _workload(one), _workload(other)
    if here is not None and there is not None and canonical_json(here) != canonical_json(there):
        return "other work was timed: the settings of task 'cost', or its version, differ"
    return None


def conditions(record: Record) -> str | None:
    """A hash that is equal for records whose costs can be compared; None where the record does not say enough."""
    if record.hardware is None:
        return None
    used = {key: record.environment.get(key) for key in _CONDITIONS}
    whole = {"hardware": record.hardware.fingerprint, **used, "workload": _workload(record)}
    return hashlib.sha256(canonical_json(whole).encode()).hexdigest()[:12]


def repeats(record: Record, metric: str) -> tuple[float, ...]:
    """The single measurements behind a cost, in its unit; none where it was not measured by repeating."""
    found = _details(record).get("repeats")
    values = found.get(metric) if isinstance(found, Mapping) else None
    return tuple(values) if isinstance(values, list) else ()


def _workload(record: Record) -> Any:
    return _details(record).get("workload")


def _details(record: Record) -> Mapping[str, Any]:
    found = record.details.get(TASK)
    return found if isinstance(found, Mapping) else {}
