"""A Ray cluster as the place of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...planning.grid import StatePlan
from ...planning.needs import memory_bytes
from ...planning.suite import SuiteFile
from ..executor import Executor
from ..places import Layout
from ..run import Settings
from .connection import device_for, nodes
from .demands import Demand
from .executor import RayExecutor


@dataclass(frozen=True)
class OnRay:
    """The nodes of the cluster that this process is connected to."""

    device: str

    def layout(self, states: Sequence[StatePlan], slots: int | None) -> Layout:
        """As many states on each node as its memory, its cores and its GPUs carry; the cores are divided among them.

        Every state asks for the same number of cores, so the node with the fewest to give decides.
        """
        memory = max((memory_bytes(state) or 0 for state in states), default=0)
        alone = Demand(1, int(self.device != "cpu"), memory)
        held = [(min(alone.places(node), slots or max(1, len(states))), node) for node in nodes() if alone.places(node)]
        if not held:
            return Layout(1, 1)
        return Layout(min(many for many, _ in held), min(int(node["CPU"]) // many for many, node in held))

    def shortage(self, state: StatePlan, layout: Layout, /) -> str | None:
        """What no node has enough of."""
        return Demand(layout.threads, int(self.device != "cpu"), memory_bytes(state) or 0).shortage(nodes())

    def executor(self, source: SuiteFile, settings: Settings, slots: int | None, /) -> Executor:
        """One task a state."""
        return RayExecutor(source, settings, slots)


def on_ray(device: str | None) -> OnRay:
    """The cluster that this process is connected to.

    Raises:
        UsageError: no node has that device.
    """
    return OnRay(device_for(device, nodes()))
