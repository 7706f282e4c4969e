"""Two states agree where they damage the same latents."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from saetransfer.leaderboard.boards.agreement import agreement

RNG = np.random.default_rng(0)
FIRST: list[int | None] = RNG.integers(-20, 101, 60).tolist()
SECOND: list[int | None] = RNG.integers(-20, 101, 60).tolist()


class Pair(NamedTuple):
    """What two states have in common."""

    both: int
    either: int
    active: int
    spearman: float


def compared(first: Sequence[int | None], second: Sequence[int | None], damaged_below: float = 0.5) -> Pair:
    """The first of two states against the second."""
    found = agreement(np.array([first, second], np.float64), damaged_below)
    return Pair(int(found.both[0, 1]), int(found.either[0, 1]), int(found.active[0, 1]), float(found.spearman[0, 1]))


def test_a_state_agrees_with_itself() -> None:
    n_damaged = sum(r is not None and r < 50 for r in FIRST)
    assert compared(FIRST, FIRST) == (n_damaged, n_damaged, 60, pytest.approx(1.0))


def test_opposite_damage_is_no_agreement() -> None:
    assert compared([90, 90, 10, 10], [10, 0, 90, 95])[:2] == (0, 4)
    assert compared([0, 20, 40, 90], [90, 40, 20, 0]).spearman == pytest.approx(-1.0)


def test_the_damage_set_is_what_lies_below_the_threshold_and_the_dead() -> None:
    assert compared([0, 49, 50, 90], [0, 90, 90, 49])[:2] == (1, 3)
    assert compared([0, 49, 50, 90], [0, 90, 90, 49], damaged_below=0.1)[:2] == (1, 1)
    for percent in range(1, 101):
        assert compared([percent], [percent], damaged_below=percent / 100).either == 0


def test_only_latents_that_are_active_in_both_are_compared() -> None:
    padded = compared([*FIRST, None, 3], [*SECOND, 3, None])
    assert padded == (*compared(FIRST, SECOND)[:3], pytest.approx(compared(FIRST, SECOND).spearman))


def test_it_is_the_rank_correlation_of_scipy() -> None:
    first, second = (1 - np.asarray(r, float) / 100 for r in (FIRST, SECOND))
    assert compared(FIRST, SECOND).spearman == pytest.approx(stats.spearmanr(first, second)[0])


def test_many_states_at_once_are_as_two_at_a_time() -> None:
    """Also where each has active latents of its own, and where some have too few, or rank none."""
    percents = RNG.integers(-20, 101, (9, 40)).astype(np.float64)
    percents[RNG.random((9, 40)) < 0.2] = np.nan
    percents[3] = percents[2]
    percents[4] = 100.0
    percents[5, 2:] = np.nan
    found = agreement(percents)
    for first, second in product(range(9), repeat=2):
        pair = compared(percents[first].tolist(), percents[second].tolist())
        assert (found.both[first, second], found.either[first, second], found.active[first, second]) == pair[:3]
        assert found.spearman[first, second] == pytest.approx(pair.spearman, nan_ok=True)


def test_where_nothing_is_damaged_there_is_nothing_to_agree_on() -> None:
    assert compared([90, 95], [99, 51]).either == 0
    assert np.isnan(compared([100, 100, 100], [1, 2, 3]).spearman)
    assert np.isnan(compared([1, 2], [1, 2]).spearman)
    assert compared([None, None], [1, 2]) == (0, 0, 0, pytest.approx(np.nan, nan_ok=True))
