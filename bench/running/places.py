"""Where a run takes place: on this machine, or (see `cluster.place`) on the nodes of a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import psutil

from ..planning.grid import StatePlan
from ..planning.needs import memory_bytes
from ..planning.suite import SuiteFile
from . import devices
from .executor import Executor
from .executors import LocalExecutor
from .run import Settings


@dataclass(frozen=True)
class Layout:
    """How the cores of a machine are divided."""

    slots: int
    """States at a time on one machine."""
    threads: int
    """Of each state."""


@runtime_checkable
class Place(Protocol):
    """Machines that carry out jobs."""

    @property
    def device(self) -> str:
        """What states run on there."""
        ...

    def layout(self, states: Sequence[StatePlan], slots: int | None) -> Layout:
        """How states run side by side; `slots` where somebody says how many."""
        ...

    def shortage(self, state: StatePlan, layout: Layout, /) -> str | None:
        """Why a state can never run there; None if it can."""
        ...

    def executor(self, source: SuiteFile, settings: Settings, slots: int | None, /) -> Executor:
        """What carries out the jobs of a run; at most `slots` at a time, where somebody says how many."""
        ...


@dataclass(frozen=True)
class Here:
    """Processes of this machine."""

    device: str

    def layout(self, states: Sequence[StatePlan], slots: int | None) -> Layout:
        """One state a core, as far as half of the free memory carries them; one on each GPU."""
        slots = slots or self._slots(states)
        return Layout(slots, max(1, (os.cpu_count() or 1) // slots))

    def shortage(self, _state: StatePlan, _layout: Layout, /) -> str | None:
        """None: memory that is short now may be free later."""
        return None

    def executor(self, _source: SuiteFile, settings: Settings, _slots: int | None, /) -> Executor:
        """One process a state."""
        return LocalExecutor(settings.slots, settings.logs, settings.timeout_seconds)

    def _slots(self, states: Sequence[StatePlan]) -> int:
        if self.device != "cpu":
            return devices.states_at_a_time(self.device)
        needs = [memory_bytes(state) for state in states]
        known = [need for need in needs if need is not None]
        if len(known) < len(needs) or not known:
            return 1
        fitting = psutil.virtual_memory().available // 2 // max(known)
        return max(1, min(fitting, os.cpu_count() or 1, len(states)))
