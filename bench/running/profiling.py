"""Clocks and memory of the phases of a job.

Peak memory is the kernel's own high-water mark of the process, which no sampling can miss. Linux lets a process reset
it (`/proc/self/clear_refs`), so there it belongs to the phase; elsewhere it is the peak since the process began.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from ...leaderboard.record import Phase
from .memory import give_back

_RESET_PEAK = "5"


class Stopwatch:
    """Measures phases, one after the other, and says which one runs."""

    def __init__(self, announce: Callable[[str], None], device: str) -> None:
        self.phases: list[Phase] = []
        self.current = "start"
        """Name of the phase that runs, for the record of a failure."""
        self.resets_peaks = True
        """Whether the system lets the peak of resident memory begin anew with each phase."""
        self._announce = announce
        self._cuda = torch.device(device).type == "cuda"

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what happens within the context; nothing is noted of a phase that fails."""
        self.current = name
        self._announce(name)
        self._reset()
        start = time.perf_counter()
        yield
        if self._cuda:
            torch.cuda.synchronize()
        self.phases.append(
            Phase(
                name=name,
                seconds=time.perf_counter() - start,
                peak_rss_bytes=peak_rss_bytes(),
                peak_cuda_bytes=torch.cuda.max_memory_allocated() if self._cuda else None,
                peak_cuda_reserved_bytes=torch.cuda.max_memory_reserved() if self._cuda else None,
            )
        )

    def _reset(self) -> None:
        give_back()  # what earlier phases have freed is no part of this one's peak
        self.resets_peaks = reset_peak_rss()
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()


def reset_peak_rss() -> bool:
    """Make the peak begin anew; where the system does not allow it (False), it stays that of the process so far."""
    try:
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def peak_rss_bytes() -> int | None:
    """The process' peak resident memory since the last reset; None where the system does not tell."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def waited_seconds() -> float | None:
    """How long this thread has been ready to run while others had the processor; None where the system does not tell.

    What it grows by during a timing is how much other processes have disturbed it.
    """
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    return None
