"""Being connected to a Ray cluster. No library that loads models is imported here: nodes can do so meanwhile."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ...errors import UsageError
from .. import workers

Node = Mapping[str, float]
"""What one node has in all: `CPU`, `GPU`, `memory` (bytes), as Ray counts them."""

_KNOCK_SECONDS = 10.0


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """While this process is the driver of a cluster: that at the address, else one that runs here, else a new one.

    Raises:
        UsageError: nothing answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what is measured here is nobody else's business
    try:
        if address is not None:
            _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        where = "" if address is None else f"--address {address}: "
        raise UsageError(
            f"{where}no Ray cluster answers ({str(error).strip().splitlines()[0]}). Start one with `ray start --head`, "
            "and give what it prints, HOST:6379; without --address, that of this machine is used, or one is started."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def warm_up() -> None:
    """Let every node load the libraries of its first worker while this process loads its own and plans.

    Ray gives the process that has begun so to the first job on that node, as long as it is idle.
    """
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ray.remote(workers.warm_up).options(num_cpus=1, max_retries=0, scheduling_strategy=there).remote()


def _knock(address: str) -> None:
    """See whether anybody listens at HOST:PORT: Ray itself would try for minutes.

    Raises:
        OSError: nobody does.
        ValueError: it is no such address.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise ValueError("an address is HOST:PORT, and the command runs on a machine of the cluster")
    socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()


def nodes() -> list[Node]:
    """What each living node has in all."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def device_for(asked: str | None, found: Sequence[Node]) -> str:
    """The kind of device that jobs run on: the one asked for, or GPUs where a node has one.

    Raises:
        UsageError: a device that no node has, or one of a node's own.
    """
    has_gpu = any(node.get("GPU", 0) >= 1 for node in found)
    if asked is None:
        return "cuda" if has_gpu else "cpu"
    if asked not in ("cpu", "cuda"):
        raise UsageError(f"--device {asked}: on a Ray cluster, Ray chooses the GPU. Allowed: cpu, cuda.")
    if asked == "cuda" and not has_gpu:
        raise UsageError("--device cuda: no node of the cluster has a GPU. Leave the option out to run on CPUs.")
    return asked
