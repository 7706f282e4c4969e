"""What a person sees while a suite runs: bars on a terminal, one line a cell elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from ...leaderboard.record import Record

_HEADLINE = ("perplexity.transfer_gap", "gap")


@runtime_checkable
class View(Protocol):
    """Told what happens."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def job(self, name: str, phase: str, fraction: float) -> None:
        """A job is in that phase, and so far with it."""
        ...

    def job_ended(self, name: str) -> None:
        """A job needs no line any more."""
        ...

    def cell(self, record: Record) -> None:
        """A record has been written."""
        ...


def view(console: Console, n_cells: int) -> View:
    """Bars on a terminal, plain lines elsewhere."""
    return LiveView(console, n_cells) if console.is_terminal else PlainView(console, n_cells)


def summary(record: Record) -> str:
    """A cell in half a line: its headline figure, or why it has none."""
    if record.error is not None:
        return f"{record.status} ({record.error.phase}): {record.error.message.splitlines()[0]}"
    name, label = _HEADLINE
    figure = record.metrics.get(name)
    return "ok" if figure is None or figure.value is None else f"{label} {figure.value:+.3f} {figure.unit}"


class PlainView:
    """A line for each cell, for logs."""

    def __init__(self, console: Console, n_cells: int) -> None:
        self._console = console
        self._n_cells = n_cells
        self._done = 0
        self._start = time.monotonic()

    def __enter__(self) -> PlainView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def job(self, name: str, phase: str, fraction: float) -> None:
        """Nothing: a line each time would bury the results."""

    def job_ended(self, name: str) -> None:
        """Nothing."""

    def cell(self, record: Record) -> None:
        """One line."""
        self._done += 1
        labels = record.labels
        place = f"{labels.model}/{labels.compressor}/{labels.sae}"
        seconds = time.monotonic() - self._start
        width = len(str(self._n_cells))
        line = f"[{self._done:{width}}/{self._n_cells}] {place:<44} {summary(record)} ({seconds:.0f} s)"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveView:
    """A bar for all cells with the time left, and one for each running job."""

    def __init__(self, console: Console, n_cells: int) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[done]:>7}"),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._console = console
        self._start = time.monotonic()
        self._all = self._progress.add_task("cells", total=n_cells, done=f"0/{n_cells}", note="")
        self._jobs: dict[str, TaskID] = {}

    def __enter__(self) -> LiveView:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def job(self, name: str, phase: str, fraction: float) -> None:
        """Move the job's bar."""
        if name not in self._jobs:
            self._jobs[name] = self._progress.add_task(name, total=1.0, done="", note=phase)
        self._progress.update(self._jobs[name], completed=fraction, done=f"{fraction:.0%}", note=phase)

    def job_ended(self, name: str) -> None:
        """Take the job's bar away."""
        if name in self._jobs:
            self._progress.remove_task(self._jobs.pop(name))

    def cell(self, record: Record) -> None:
        """Move the bar of all cells; what failed stays on the screen above the bars."""
        self._progress.advance(self._all)
        done = self._progress.tasks[self._all]
        left = (time.monotonic() - self._start) / max(done.completed, 1) * ((done.total or 0) - done.completed)
        note = f"about {left:.0f} s left" if left >= 1 else ""
        self._progress.update(self._all, done=f"{done.completed:.0f}/{done.total:.0f}", note=note)
        if record.error is not None:
            labels = record.labels
            place = f"{labels.model}/{labels.compressor}/{labels.sae}"
            self._console.print(f"{place}: {summary(record)}", style="yellow", markup=False, highlight=False)
