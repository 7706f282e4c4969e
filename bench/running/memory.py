"""Memory of a process: giving back what is free, and how it shows that there was none left.

PyTorch is imported where it is needed: a node of a cluster that hands jobs to workers does without it.
"""

from __future__ import annotations

import ctypes
import os
import time
from contextlib import suppress
from pathlib import Path

OUT_OF_MEMORY = "OutOfMemory"
"""Type of the failure in records, whichever library ran out."""

_SWEEP_SECONDS = 0.25
"""Giving back takes some hundredths of a second, with what it takes to get the memory again."""
_SAID_BY_ALLOCATORS = ("can't allocate memory", "not enough memory", "std::bad_alloc", "cannot allocate memory")


def give_back() -> None:
    """Give the system what this process has freed, where its allocator (that of glibc) keeps it.

    Tensors of up to 32 MB lie in its heap, between small things that live longer; hundreds of MB can stay behind there.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


class Sweeper:
    """Gives back what is free while something long runs: as often as costs next to nothing."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def sweep(self) -> None:
        """Give back, unless that was done a moment ago."""
        if time.monotonic() - self._last >= _SWEEP_SECONDS:
            give_back()
            self._last = time.monotonic()


def ran_out(error: BaseException) -> bool:
    """Whether an exception, or one that it was raised from, says that there was no memory left."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # The allocators of the CPU and of bitsandbytes raise what cannot be told from other errors but by its text.
    if isinstance(error, RuntimeError | OSError) and any(part in str(error).lower() for part in _SAID_BY_ALLOCATORS):
        return True
    return error.__cause__ is not None and ran_out(error.__cause__)


def kernel_kills() -> int:
    """How many processes the kernel has killed for lack of memory since the system began; 0 where it does not tell."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
