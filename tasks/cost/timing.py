"""Timing: repeats in turns, each of several calls, so that what disturbs a machine for a while disturbs all work alike.

A *repeat* of some work is a run of calls of a tenth of the wanted seconds (or one call, if that takes longer); the
repeats of all works take turns. A call before each repeat is not counted: it brings back into the caches what the
other works have driven out. The figure of a repeat is that of its median call, and what is reported is the median
repeat. Neighbouring calls are not independent; repeats that lie seconds apart nearly are, so they give the interval,
from order statistics and without any assumption on the distribution (David and Nagaraja 2003, section 7.1): of k
repeats, the r-th smallest and the r-th largest hold the median between them with probability

    1 - 2 P(Binomial(k, 1/2) < r)

and r is the largest that leaves 95 % (2 of 10 repeats, which leaves 97.9 %). It tells of one process: how much two
processes differ on the same machine, no repeat within either can know.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

FEW_REPEATS = "fewer than 6 repeats give no 95 % interval"


@dataclass(frozen=True)
class Work:
    """Something to be timed."""

    run: Callable[[Any], object]
    prepare: Callable[[], Any] = lambda: None
    """Called before every `run`, which is given what it returns; not timed."""


@dataclass(frozen=True)
class Patience:
    """How long to measure: what sharpens a figure without changing what it is."""

    repeats: int = 10
    seconds: float = 2.0
    """Of each work, in all its repeats."""
    warm_ups: int = 3
    """Calls before anything is timed."""


QUICKLY = Patience(repeats=3, seconds=1e-9, warm_ups=1)
"""For a figure that nobody has asked to be careful, and that gets no interval: one call a repeat."""


@dataclass(frozen=True)
class Timing:
    """How long some work took."""

    seconds: tuple[tuple[float, ...], ...]
    """Of every call, by repeat."""

    @property
    def repeats(self) -> tuple[float, ...]:
        """Seconds of the median call of each repeat."""
        return tuple(float(np.median(calls)) for calls in self.seconds)

    @property
    def calls(self) -> tuple[float, ...]:
        """Seconds of all calls."""
        return tuple(seconds for calls in self.seconds for seconds in calls)

    def quantile(self, share: float) -> float:
        """Seconds that this share of the calls does not exceed."""
        return float(np.quantile(self.calls, share))


def in_turns(works: Mapping[str, Work], patience: Patience, device: torch.device) -> dict[str, Timing | str]:
    """Time some works, in turns; what does not fit into the GPU's memory has the reason in the place of its timing."""
    failed: dict[str, Timing | str] = {}
    ready: dict[str, Work] = {}
    for name, work in works.items():
        try:
            for _ in range(patience.warm_ups):
                _seconds(work, device)
            ready[name] = work
        except torch.OutOfMemoryError as error:
            failed[name] = f"out of GPU memory: {str(error).splitlines()[0]}"
    taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in ready}
    for _ in range(patience.repeats):
        for name, work in ready.items():
            taken[name].append(_repeat(work, patience.seconds / patience.repeats, device))
    return failed | {name: Timing(tuple(repeats)) for name, repeats in taken.items()}


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """A 95 % interval of the median of what the values are drawn from; None for fewer than 6 of them."""
    k = len(values)
    outside = np.cumsum([math.comb(k, r) / 2.0**k for r in range(k)])  # P(Binomial(k, 1/2) <= r)
    rank = int((2 * outside <= 0.05).sum())
    ordered = sorted(values)
    return (ordered[rank - 1], ordered[k - rank]) if rank else None


def _repeat(work: Work, wanted_seconds: float, device: torch.device) -> tuple[float, ...]:
    _seconds(work, device)
    taken: list[float] = []
    total = 0.0
    with _without_garbage_collection():
        while not taken or total < wanted_seconds:
            taken.append(_seconds(work, device))
            total += taken[-1]
    return tuple(taken)


@torch.inference_mode()
def _seconds(work: Work, device: torch.device) -> float:
    """One call; on a GPU by its own clock, from when it begins to when it has finished."""
    prepared = work.prepare()
    if device.type == "cuda":
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        work.run(prepared)
        ended.record()
        torch.cuda.synchronize(device)
        return began.elapsed_time(ended) / 1000.0
    start = time.perf_counter()
    work.run(prepared)
    return time.perf_counter() - start


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
