"""Letters to jobs that wait for the dense state of their model: all that a job is told once it has begun."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..job import DenseResults

Key = Mapping[str, Any]
Offer = tuple[tuple[Key, Any], ...]
"""Artifacts that the driver has: key, and the reference of the parcel."""


@dataclass(frozen=True)
class Letter:
    """What a job has waited for."""

    dense: DenseResults | None
    offered: Offer


class Mailbox:
    """Holds letters until they are taken. It lives in a process of its own, and each letter is taken once."""

    def __init__(self) -> None:
        self._letters: dict[str, Letter] = {}
        self._arrivals: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def put(self, address: str, letter: Letter) -> None:
        """Leave a letter."""
        self._letters[address] = letter
        self._arrivals[address].set()

    async def take(self, address: str) -> Letter:
        """The letter at an address, once it is there."""
        await self._arrivals[address].wait()
        del self._arrivals[address]
        return self._letters.pop(address)


def open_mailbox() -> Any:
    """A mailbox beside the driver, so that it is lost with nothing else; it takes no core."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
