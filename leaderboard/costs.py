"""Which costs of two records may be compared: those of the same hardware, used in the same way, doing the same work.

A time says as much about the machine as about the state. Nothing in the leaderboard puts two costs side by side, in
a rank or in a verdict, without asking here first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .record import Hardware, Record, canonical_json

TASK = "cost"
"""The task that measures costs, by which its part of the details is found."""

_USED = {"device": "on device", "gpu": "on GPU", "threads": "threads", "jobs": "states measured at a time"}
"""What the environment says of how a machine was used, with its words."""


@dataclass(frozen=True)
class Conditions:
    """What two costs must share to be comparable."""

    environment: Mapping[str, Any]
    """Of a record: its hardware, and how it was used."""
    workload: Any
    """What was timed; None where nothing was."""

    @classmethod
    def of(cls, record: Record) -> Conditions:
        """Those of a record."""
        return cls(record.environment, _details(record).get("workload"))

    def against(self, other: Conditions) -> str | None:
        """Why the costs of both cannot be compared; None where they can."""
        mine, theirs = Hardware.of(self.environment), Hardware.of(other.environment)
        if mine is None or theirs is None:
            return "a record does not say on what hardware it was made"
        if mine != theirs:
            return f"other hardware: {mine.text} against {theirs.text}"
        here, there = self._used, other._used
        for key, words in _USED.items():
            if here[key] != there[key]:
                return f"the same hardware used otherwise: {words} {here[key]} against {there[key]}"
        both = self.workload is not None and other.workload is not None
        if both and canonical_json(self.workload) != canonical_json(other.workload):
            return "other work was timed: the settings of task 'cost', or its version, differ"
        return None

    @property
    def key(self) -> str | None:
        """A hash that is equal where costs can be compared; None where the hardware is not known."""
        hardware = Hardware.of(self.environment)
        if hardware is None:
            return None
        whole = {"hardware": hardware.fingerprint, **self._used, "workload": self.workload}
        return hashlib.sha256(canonical_json(whole).encode()).hexdigest()[:12]

    @property
    def _used(self) -> dict[str, Any]:
        """How the hardware was used; of several equal GPUs it does not matter which one a state ran on."""
        used = {key: self.environment.get(key) for key in _USED}
        return {**used, "device": str(used["device"]).split(":")[0]}


def incomparable(one: Record, other: Record) -> str | None:
    """Why costs of two records cannot be compared; None where they can."""
    return Conditions.of(one).against(Conditions.of(other))


def conditions(record: Record) -> str | None:
    """A hash that is equal for records whose costs can be compared; None where the record does not say enough."""
    return Conditions.of(record).key


def repeats(record: Record, metric: str) -> tuple[float, ...]:
    """The single measurements behind a cost, in its unit; none where it was not measured by repeating."""
    found = _details(record).get("repeats")
    values = found.get(metric) if isinstance(found, Mapping) else None
    return tuple(values) if isinstance(values, list) else ()


def _details(record: Record) -> Mapping[str, Any]:
    found = record.details.get(TASK)
    return found if isinstance(found, Mapping) else {}
