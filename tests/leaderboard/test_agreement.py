"""Two states agree where they damage the same latents."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from saetransfer.leaderboard.boards.agreement import damage_counts, damage_jaccard, damage_spearman

RNG = np.random.default_rng(0)
FIRST: list[int | None] = RNG.integers(-20, 101, 60).tolist()
SECOND: list[int | None] = RNG.integers(-20, 101, 60).tolist()


def test_a_state_agrees_with_itself() -> None:
    assert damage_jaccard(FIRST, FIRST) == 1.0
    assert damage_spearman(FIRST, FIRST) == pytest.approx(1.0)


def test_opposite_damage_is_no_agreement() -> None:
    assert damage_jaccard([90, 90, 10, 10], [10, 0, 90, 95]) == 0.0
    assert damage_spearman([0, 20, 40, 90], [90, 40, 20, 0]) == pytest.approx(-1.0)


def test_the_damage_set_is_what_lies_below_the_threshold_and_the_dead() -> None:
    assert damage_jaccard([0, 49, 50, 90], [0, 90, 90, 49]) == pytest.approx(1 / 3)
    assert damage_jaccard([0, 49, 50, 90], [0, 90, 90, 49], damaged_below=0.1) == 1.0
    for percent in range(1, 101):
        assert damage_counts([percent], [percent], damaged_below=percent / 100).either == 0


def test_what_is_counted_is_what_the_jaccard_index_is_of() -> None:
    counts = damage_counts([0, 49, 50, 90, None], [0, 90, 90, 49, 3])
    assert counts == (1, 3, 4)
    assert damage_jaccard([0, 49, 50, 90, None], [0, 90, 90, 49, 3]) == counts.both / counts.either


def test_an_array_says_the_same_as_a_list() -> None:
    lists = ([*FIRST, None], [*SECOND, 3])
    arrays = [np.asarray(one, np.float64) for one in lists]
    assert damage_counts(*arrays) == damage_counts(*lists)
    assert damage_spearman(*arrays) == damage_spearman(*lists)


def test_only_latents_that_are_active_in_both_are_compared() -> None:
    padded = damage_jaccard([*FIRST, None, 3], [*SECOND, 3, None]), damage_spearman([*FIRST, None], [*SECOND, 3])
    assert padded == (damage_jaccard(FIRST, SECOND), damage_spearman(FIRST, SECOND))


def test_it_is_the_rank_correlation_of_scipy() -> None:
    first, second = (1 - np.asarray(r, float) / 100 for r in (FIRST, SECOND))
    assert damage_spearman(FIRST, SECOND) == pytest.approx(stats.spearmanr(first, second)[0])


def test_where_nothing_is_damaged_there_is_nothing_to_agree_on() -> None:
    assert damage_jaccard([90, 95], [99, 51]) is None
    assert damage_spearman([100, 100, 100], [1, 2, 3]) is None
    assert damage_spearman([1, 2], [1, 2]) is None
    assert damage_jaccard([None, None], [1, 2]) is None


def test_lists_of_different_saes_are_refused() -> None:
    with pytest.raises(ValueError, match="3 latents and 2 latents"):
        damage_jaccard([1, 2, 3], [1, 2])
