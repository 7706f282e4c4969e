"""What a worker is asked to do, and what it tells while it does it. All of it can be pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...leaderboard.record import Record
from ..planning.suite import SuiteFile

PairedSums = dict[str, list[float]]
"""Sums by document, as a record keeps them."""


@dataclass(frozen=True)
class DenseResults:
    """What the records of a dense state say that other states of its model are compared with."""

    sums: Mapping[str, PairedSums] = field(default_factory=dict)
    """Of each SAE, the sums of its cell."""
    costs: Record | None = None
    """A record with the costs of the dense state, where the suite asks for them and there is one."""


@dataclass(frozen=True)
class Job:
    """One state to be measured, in a process of its own."""

    source: SuiteFile
    """The suite; a worker looks up its names anew, since functions of a user's file cannot be pickled."""
    model: str
    compressor: str
    saes: tuple[str, ...]
    """SAEs whose cells are wanted."""
    prepare: tuple[str, ...] = ()
    """SAEs that only have to be made, for other states."""
    read: tuple[bool, ...] = ()
    """BOS conventions under which the text only has to be read, for other states."""
    dense: DenseResults = field(default_factory=DenseResults)
    """What it is compared with, as far as that is known when it starts."""
    waits_for: str | None = None
    """Name of the dense state's job where that runs still: this one asks for what it needs of it when it can do no more
    without."""
    artifacts: tuple[Mapping[str, Any], ...] = ()
    """Keys of what it may use of the cache, or make there."""
    memory_bytes: int | None = None
    """What it is expected to need at most; None where nobody knows."""
    cache: Path = Path()
    device: str = "cpu"
    threads: int = 1
    jobs: int = 1
    """States that may run at a time on the machine, this one included."""
    command: str = ""
    """The command line, for the record."""
    cell_ids: Mapping[str, str] = field(default_factory=dict)
    """Of each wanted SAE, the id of its cell as planned: a worker that comes to another one reads changed files."""

    @property
    def name(self) -> str:
        """`model/compressor`."""
        return f"{self.model}/{self.compressor}"


@dataclass(frozen=True)
class PhaseStarted:
    """The job has come to a phase."""

    phase: str


@dataclass(frozen=True)
class Progress:
    """How much of the phase is done, 0 to 1."""

    fraction: float


@dataclass(frozen=True)
class CellDone:
    """A record is finished."""

    record: Record
    table: Mapping[str, np.ndarray] | None = None
    """Columns by latent, where a task was asked for them."""


@dataclass(frozen=True)
class DenseWanted:
    """The job can do no more before some artifacts of its dense state are there or, if it names none, its results."""

    artifacts: tuple[Mapping[str, Any], ...] = ()
    """Their keys."""


@dataclass(frozen=True)
class JobDone:
    """Nothing more will come."""


@dataclass(frozen=True)
class JobLost:
    """The job ended without a record for each of its cells: those that have none get this failure."""

    type: str
    message: str
    traceback: str | None = None
    status: Literal["failed", "skipped"] = "failed"
    """`skipped`: it cannot be run here at all."""


Event = PhaseStarted | Progress | CellDone | DenseWanted | JobDone | JobLost
