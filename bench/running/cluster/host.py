"""What runs on a node: it fetches what the job needs, has the job done in a process of its own, and sends all back.

The job runs as it does on a single machine (`LocalExecutor`), so that a crash, a time limit or a lack of memory are
noticed in the same way, and the libraries are loaded once for all jobs that come to this node.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray

from ...planning.suite import SuiteFile
from .. import artifacts
from ..artifacts import Artifacts
from ..executors import LocalExecutor
from ..job import DenseWanted, Event, Job, JobDone, JobLost, Progress
from .mailbox import Key, Letter, Offer
from .parcels import Parcel, artifact_parcel, unpack
from .suite_files import SuiteFiles

_TELL_SECONDS = 1.0
"""How often progress is told."""
_LOOK_SECONDS = 0.1
"""How soon an answer is noticed."""
_LOG_BYTES = 2**20
"""Of what a job prints, the last part that travels back."""
_COMPARED = ("saetransfer", "torch", "transformers", "sae-lens")


@dataclass(frozen=True)
class Errand:
    """A job with all that a node needs for it."""

    job: Job
    offered: Offer
    wanted: tuple[Key, ...]
    """Artifacts that the driver has not, and that the job may make."""
    files: SuiteFiles
    files_parcel: Any
    """The reference of a parcel of the suite's files."""
    mark: Path
    """A file below the driver's artifact folder: a node that sees it there shares that folder."""
    versions: dict[str, str]
    timeout_seconds: float | None
    mailbox: Any
    """Where the answer comes if the job asks; None for a job that waits for nothing."""
    address: str
    """Of this errand, in the mailbox."""


@dataclass(frozen=True)
class Delivery:
    """An artifact that was made."""

    key: Key
    parcel: Parcel


@dataclass(frozen=True)
class Log:
    """What the job has printed."""

    text: str


Message = tuple[Event, ...] | Delivery | Log


def versions() -> dict[str, str]:
    """Versions that must be the same on all machines of a run, since figures and keys depend on them."""
    return {package: version(package) for package in _COMPARED}


def host(errand: Errand) -> Iterator[Message]:
    """Do an errand on this node."""
    here = versions()
    if here != errand.versions:
        said = f"This node has {here}, the driver {errand.versions}: install the same on all nodes."
        yield (JobLost("OtherVersions", said),)
        return
    cache = artifacts.default_folder()
    kept = Artifacts(cache)
    artifacts.sweep(cache)
    with artifacts.working(cache):
        _fetch_all(kept, errand.offered)
        job = replace(errand.job, cache=cache, source=_placed(errand, kept))
        wanted = [] if (cache / errand.mark).is_file() else list(errand.wanted)
        yield from _done(job, kept, wanted, errand)


def _fetch_all(kept: Artifacts, offered: Offer) -> None:
    for key, reference in offered:
        _fetch(kept, key, reference)


def _fetch(kept: Artifacts, key: Key, reference: Any) -> Path:
    """The folder of an artifact on this node, fetched where it is not there."""
    with kept.making([key]):
        if kept.find(key) is None:
            with kept.create(key) as folder:
                unpack(ray.get(reference), folder)
    return kept.folder(key)


def _placed(errand: Errand, kept: Artifacts) -> SuiteFile:
    """The suite, beside files that this node can read."""
    source, files = errand.job.source, errand.files
    if files.are_here:
        return source
    return files.moved(source, _fetch(kept, files.key, errand.files_parcel))


def _done(job: Job, kept: Artifacts, wanted: list[Key], errand: Errand) -> Iterator[Message]:
    """Run the job; artifacts are sent as soon as they are there, and before the last event."""
    logs = artifacts.workspace(job.cache) / "logs"
    answer: Any = None
    with closing(LocalExecutor(1, logs, errand.timeout_seconds)) as executor:
        executor.submit(job)
        for events in _told(executor):
            if any(isinstance(event, DenseWanted) for event in events):
                answer = errand.mailbox.take.remote(errand.address)
            if answer is not None and ray.wait([answer], timeout=0)[0]:
                letter: Letter = ray.get(answer)
                answer = None
                _fetch_all(kept, letter.offered)
                wanted = [key for key in wanted if key not in [offered for offered, _ in letter.offered]]
                executor.answer(job, letter.dense)
            if not events:
                continue
            for key in [key for key in wanted if kept.find(key) is not None]:
                wanted.remove(key)
                yield Delivery(key, artifact_parcel(kept.folder(key)))
            if isinstance(events[-1], JobDone | JobLost):
                yield Log(_end_of(logs))
            yield events


def _told(executor: LocalExecutor) -> Iterator[tuple[Event, ...]]:
    """Events until the last, or none where there are none; mere progress is told now and then."""
    events: list[Event] = []
    told = time.monotonic()
    while not events or not isinstance(events[-1], JobDone | JobLost):
        events += [event for _, event in executor.poll(_LOOK_SECONDS)]
        due = time.monotonic() - told >= _TELL_SECONDS
        if events and (due or not isinstance(events[-1], Progress)):
            yield _without_old_progress(events)
            told = time.monotonic()
            if not isinstance(events[-1], JobDone | JobLost):
                events.clear()
        elif not events:
            yield ()


def _without_old_progress(events: Sequence[Event]) -> tuple[Event, ...]:
    return tuple(event for event in events if not isinstance(event, Progress) or event is events[-1])


def _end_of(logs: Path) -> str:
    text = "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in sorted(logs.glob("*.log")))
    return text[-_LOG_BYTES:]
