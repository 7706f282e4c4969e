"""Do compressors damage the same features? The answer of a table, for every frozen SAE.

Only the latents of a frozen SAE are the same on all states; those of a random one are no features.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from jaxtyping import Float

from ..record import Record, canonical_json
from .agreement import agreement
from .cells import Cell, Grid, Header, Row
from .figures import NO_VALUE, fixed
from .sections import Section
from .states import is_dense, is_frozen

NAME = "damage"
QUESTION = "Do compressors damage the same features?"
MOST_STATES_IN_PAIRS = 6
"""Their fifteen pairs can be read one by one; of more states each is shown with its most alike and the mean."""
_DECIMALS = 2
_EXPLANATION = (
    "A feature is damaged where its activations on the compressed model correlate with those on the dense one by less "
    "than r = {:g}. Jaccard: features damaged by both states over those damaged by either; Spearman: rank "
    "correlation of the damage 1 - r over all active latents, 1 where two states rank them alike and about 0 where "
    "they have nothing to do with each other."
)
_OF_PAIRS = (
    *(Header(text, False) for text in ("SAE", "compressor", "and compressor")),
    *(Header(text, True) for text in ("damaged by both", "by either", "Jaccard", "Spearman", "active latents")),
)
_OF_STATES = (
    *(Header(text, False) for text in ("SAE", "compressor")),
    Header("damaged", True),
    Header("most alike", False),
    *(Header(text, True) for text in ("Jaccard with it", "Spearman with it", "mean Spearman", "active latents")),
)


@dataclass(frozen=True)
class SharedDamage:
    """Which states of a table damage the same latents."""

    grid: Grid
    """From the most alike to the least, one SAE after the other."""
    summary: tuple[str, ...]
    """One sentence an SAE, for where there is no room for rows."""


@dataclass(frozen=True, eq=False)
class _State:
    """What one compressed state does to the latents."""

    name: str
    damaged: int
    active: int


@dataclass(frozen=True)
class _Pair:
    """Two states and what their damage has in common."""

    states: tuple[_State, _State]
    both: int
    either: int
    active: int
    spearman: float | None

    @property
    def jaccard(self) -> float | None:
        """None where neither damages any latent."""
        return self.both / self.either if self.either else None

    def other(self, state: _State) -> _State:
        """The state that a state is compared with."""
        first, second = self.states
        return second if state is first else first


@dataclass(frozen=True)
class _Comparison:
    """The compressed states of one SAE."""

    title: str
    states: tuple[_State, ...]
    pairs: tuple[_Pair, ...]
    """Most alike first."""
    damaged_below: float


def shared_damage(parts: Iterable[Section], name_state: Callable[[Record], str]) -> SharedDamage | None:
    """What the states of each frozen SAE have in common; None where no SAE has two compressed states to compare.

    Args:
        parts: the sections of one comparable group, so that the threshold of damage is one.
        name_state: the name of the state of a record.
    """
    comparisons = [found for part in parts for found in _comparisons(part, name_state)]
    if not comparisons:
        return None
    in_pairs = max(len(one.states) for one in comparisons) <= MOST_STATES_IN_PAIRS
    rows = _rows_of_pairs if in_pairs else _rows_of_states
    return SharedDamage(
        grid=Grid(
            NAME,
            QUESTION,
            _EXPLANATION.format(comparisons[0].damaged_below),
            _OF_PAIRS if in_pairs else _OF_STATES,
            tuple(tuple(Row(tuple(map(Cell, row))) for row in rows(one)) for one in comparisons),
        ),
        summary=tuple(sentence for one in comparisons if (sentence := _summary(one))),
    )


def _comparisons(part: Section, name_state: Callable[[Record], str]) -> Iterator[_Comparison]:
    """One comparison; several where SAEs of one name are not the same."""
    divided: dict[tuple[str, float, int], list[tuple[str, Float[np.ndarray, " latent"]]]] = defaultdict(list)
    for record in part.records:
        percents, limits = correlations(record), thresholds(record)
        if is_frozen(record) and not is_dense(record) and percents is not None and limits is not None:
            same = (canonical_json(record.spec.sae), limits[0], len(percents))
            divided[same].append((name_state(record), percents))
    for (_, damaged_below, _), states in sorted(divided.items(), key=lambda item: item[0]):
        if len(states) > 1:
            names, percents = zip(*states, strict=True)
            yield _comparison(part.title, names, np.stack(percents), damaged_below)


def _comparison(
    title: str, names: Sequence[str], percents: Float[np.ndarray, "state latent"], damaged_below: float
) -> _Comparison:
    found = agreement(percents, damaged_below)
    both, either, active, spearman = (figures.tolist() for figures in found)
    states = tuple(_State(name, both[one][one], active[one][one]) for one, name in enumerate(names))
    pairs = [
        _Pair(
            (states[one], states[other]),
            both[one][other],
            either[one][other],
            active[one][other],
            None if math.isnan(spearman[one][other]) else spearman[one][other],
        )
        for one, other in itertools.combinations(range(len(states)), 2)
    ]
    # Sorting is stable: pairs that are equally alike stay in the order of their states.
    pairs.sort(key=lambda pair: _descending(pair.spearman))
    return _Comparison(title, states, tuple(pairs), damaged_below)


def correlations(record: Record) -> Float[np.ndarray, " latent"] | None:
    """100 r of every latent, NaN where it is not active; None where the record does not tell."""
    details = record.details.get("overlap")
    listed = details.get("r_percent") if isinstance(details, Mapping) and record.status == "ok" else None
    if not isinstance(listed, list) or not all(value is None or _is_within(value, 100) for value in listed):
        return None
    return np.asarray(listed, np.float64)


def thresholds(record: Record) -> tuple[float, float] | None:
    """R below which a latent is damaged, and above which it survives; None where the record does not tell."""
    settings = record.spec.tasks.get("overlap")
    found = settings if isinstance(settings, Mapping) else {}
    below, above = found.get("damaged_below"), found.get("survived_above", 1)
    return (float(below), float(above)) if _is_within(below, 1) and _is_within(above, 1) else None


def _is_within(value: Any, limit: int) -> TypeGuard[float]:
    """Whether a value from an open field is a correlation, up to that scale."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -limit <= value <= limit


def _rows_of_pairs(comparison: _Comparison) -> Iterator[tuple[str, ...]]:
    for pair in comparison.pairs:
        first, second = pair.states
        counts = (str(pair.both), str(pair.either), _shown(pair.jaccard), _shown(pair.spearman), str(pair.active))
        yield comparison.title, first.name, second.name, *counts


def _rows_of_states(comparison: _Comparison) -> Iterator[tuple[str, ...]]:
    pairs: dict[_State, list[_Pair]] = {state: [] for state in comparison.states}
    for pair in comparison.pairs:
        for state in pair.states:
            pairs[state].append(pair)
    means = {state: _mean_spearman(own) for state, own in pairs.items()}
    for state in sorted(means, key=lambda state: _descending(means[state])):
        nearest = pairs[state][0]  # they stand in order, so the first one is the most alike
        name = NO_VALUE if nearest.spearman is None else nearest.other(state).name
        figures = map(_shown, (nearest.jaccard, nearest.spearman, means[state]))
        yield comparison.title, state.name, str(state.damaged), name, *figures, str(state.active)


def _mean_spearman(pairs: Sequence[_Pair]) -> float | None:
    known = [pair.spearman for pair in pairs if pair.spearman is not None]
    return statistics.fmean(known) if known else None


def _summary(comparison: _Comparison) -> str:
    """The most and the least alike; empty where no rank correlation is defined."""
    known = [pair for pair in comparison.pairs if pair.spearman is not None]
    if not known:
        return ""
    told = f"most alike are {_told(known[0])}" if len(known) > 1 else _told(known[0])
    least = f", least alike {_told(known[-1])}" if len(known) > 1 else ""
    return f"Features of {comparison.title} damaged by the same compressors: {told}{least}."


def _told(pair: _Pair) -> str:
    first, second = pair.states
    shared = f"{pair.both} of {pair.either} damaged features shared, " if pair.either else ""
    return f"{first.name} and {second.name} ({shared}Spearman {_shown(pair.spearman)})"


def _shown(value: float | None) -> str:
    return NO_VALUE if value is None else fixed(value, _DECIMALS)


def _descending(value: float | None) -> tuple[bool, float]:
    """Sorts the largest first and what has no value last."""
    return value is None, -(value or 0.0)
