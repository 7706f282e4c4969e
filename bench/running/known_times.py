"""How long states took on this machine, kept beside the artifacts: what a plan is expected to take follows from it.

One line of JSON a state. Nothing else depends on the file, and a line that cannot be read is passed over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from ...leaderboard.record import canonical_json
from ..planning.grid import Plan, StatePlan

_FILE = "times.jsonl"


@dataclass(frozen=True)
class StateTime:
    """What one state took."""

    model: str
    """Hash of the model's identity."""
    state: str
    """Hash of the model's and the compressor's."""
    device: str
    n_cells: int
    n_tokens: int
    """Of the evaluation text."""
    seconds: float
    """From the start of the job to its end, the making of SAEs included."""
    peak_rss_bytes: int


@dataclass(frozen=True)
class Estimate:
    """What the states of a plan are expected to take."""

    seconds: float
    """One after the other; of those states that something is known about."""
    peak_rss_bytes: int
    """Of the largest state."""
    n_unknown: int
    """States of models that have never run here."""


def note(cache: Path, time: StateTime) -> None:
    """Keep what a state took."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / _FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(time)) + "\n")


def state_time(plan: Plan, state: StatePlan, device: str, n_cells: int, seconds: float, peak: int) -> StateTime:
    """What a state took, as it is kept."""
    model, whole = _hashes(state)
    return StateTime(model, whole, device, n_cells, plan.suite.data.tokens, seconds, peak)


def estimate(cache: Path, plan: Plan, todo: Sequence[tuple[StatePlan, int]], device: str) -> Estimate | None:
    """What some states are expected to take; None where no state of their models has run here.

    The median of the same state's times or, where it has none, of all states of its model, in proportion to the cells
    and to the tokens: a state's fixed costs make that an overestimate for more of them and an underestimate for fewer.

    Args:
        todo: states, and how many cells of each are to be measured.
    """
    rates = _Rates(time for time in _noted(cache) if time.device == device)
    expected = [(n_cells, rates.of(state)) for state, n_cells in todo]
    known = [(n_cells * rate, peak) for n_cells, found in expected if found is not None for rate, peak in [found]]
    if not known:
        return None
    seconds = plan.suite.data.tokens * sum(cost for cost, _ in known)
    return Estimate(seconds, max(peak for _, peak in known), len(expected) - len(known))


class _Rates:
    """Seconds a cell and token, and peak memory in bytes, by state and by model."""

    def __init__(self, times: Iterable[StateTime]) -> None:
        self._found: dict[str, list[StateTime]] = {}
        for time in times:
            for name in {time.model, time.state}:
                self._found.setdefault(name, []).append(time)

    def of(self, state: StatePlan) -> tuple[float, int] | None:
        """Of a state, or else of its model."""
        model, whole = _hashes(state)
        times = self._found.get(whole) or self._found.get(model)
        if times is None:
            return None
        rate = median(time.seconds / (max(time.n_cells, 1) * time.n_tokens) for time in times)
        return rate, max(time.peak_rss_bytes for time in times)


def _hashes(state: StatePlan) -> tuple[str, str]:
    model = canonical_json(state.model.identity)
    whole = model + canonical_json(state.compressor.identity)
    return _digest(model), _digest(whole)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _noted(cache: Path) -> Iterator[StateTime]:
    try:
        lines = (cache / _FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            time = StateTime(**json.loads(line))
        except (ValueError, TypeError):  # a line cut short, or of another version
            continue
        if time.n_tokens:
            yield time
