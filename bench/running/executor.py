"""What a run asks of whatever carries out its jobs."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from .job import DenseResults, Event, Job


@runtime_checkable
class Executor(Protocol):
    """Carries out jobs, several at a time. The last event of each is `JobDone` or `JobLost`: none vanishes."""

    @property
    def has_room(self) -> bool:
        """Whether another job can be taken now."""
        ...

    @property
    def has_place(self) -> bool:
        """Whether a job that is taken now starts at once, as far as that is known."""
        ...

    def submit(self, job: Job) -> None:
        """Take a job; it starts as soon as there is a place for it."""
        ...

    def poll(self, timeout_seconds: float) -> list[tuple[Job, Event]]:
        """What jobs have told since the last call; waits for something at most that long."""
        ...

    def answer(self, job: Job, dense: DenseResults | None) -> None:
        """Tell a job that has asked (`DenseWanted`) what its dense state has found.

        None where the artifacts that it asked for are there, while the dense state runs still.
        """
        ...

    def close(self) -> None:
        """End all jobs at once, and leave nothing running."""
        ...
