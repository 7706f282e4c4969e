"""Being connected to a Ray cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import ray

from ...errors import UsageError
from .demands import Node


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """While this process is the driver of a cluster: that at the address, else one that runs here, else a new one.

    Raises:
        UsageError: nothing answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what is measured here is nobody else's business
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        said = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"--address {address}: no Ray cluster answers ({said}). Start one with `ray start --head`, and give what "
            "it prints, HOST:6379; without --address, the cluster of this machine is used, or one is started."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


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
