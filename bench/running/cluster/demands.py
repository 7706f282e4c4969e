"""What a job asks of a node, and what the nodes of a cluster have. Units are Ray's: cores, GPUs, bytes of memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..job import Job
from .connection import Node


@dataclass(frozen=True)
class Demand:
    """What must be free on one node for a job to start there."""

    cpus: int
    gpus: int
    memory_bytes: int
    """0 where nobody knows."""

    @classmethod
    def of(cls, job: Job) -> Demand:
        """What a job asks for: a core for each of its threads, a GPU if it runs on one, and its estimated memory."""
        return cls(job.threads, int(job.device != "cpu"), job.memory_bytes or 0)

    def places(self, node: Node) -> int:
        """How many such jobs a node can hold at a time."""
        wanted = (("CPU", self.cpus), ("GPU", self.gpus), ("memory", self.memory_bytes))
        return min(int(node.get(name, 0) // amount) for name, amount in wanted if amount)

    def shortage(self, nodes: Sequence[Node]) -> str | None:
        """Why no node of a cluster can ever hold such a job; None if one can."""
        if any(self.places(node) for node in nodes):
            return None
        return f"It needs a node with {self}; the cluster has {'; '.join(map(_described, nodes)) or 'no node'}."

    def __str__(self) -> str:
        return _described({"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_bytes})


def _described(node: Node) -> str:
    cores, gpus, memory_bytes = (node.get(name, 0) for name in ("CPU", "GPU", "memory"))
    parts = [f"{cores:g} CPU{'' if cores == 1 else 's'}"]
    parts += [f"{gpus:g} GPU{'' if gpus == 1 else 's'}"] if gpus else []
    parts += [f"{memory_bytes / 2**30:.1f} GiB of memory"] if memory_bytes else []
    return ", ".join(parts)
