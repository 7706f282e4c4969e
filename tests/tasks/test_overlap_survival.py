"""Survival is told from dense statistics where it follows from them, and not where it does not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from saetransfer.tasks.overlap.survival import N_FOLDS, SMALLEST_CLASS, Statistics, predict_survival

RNG = np.random.default_rng(0)
NAMES = ("log_density", "mean", "deviation", "max", "decoder_norm", "max_decoder_cosine")
STATISTICS: Statistics = {name: RNG.normal(size=400) for name in NAMES}


def test_what_follows_from_the_statistics_is_told() -> None:
    found = predict_survival(STATISTICS, STATISTICS["log_density"] - STATISTICS["max"] > 0)
    assert found is not None
    assert found.auc > 0.98
    assert found.coefficients["log_density"] > 1 > abs(found.coefficients["mean"])
    assert found.coefficients["max"] < -1


def test_what_has_nothing_to_do_with_them_is_not() -> None:
    found = predict_survival(STATISTICS, RNG.random(400) > 0.5)
    assert found is not None
    # The AUC of noise has a standard deviation of about 0.03 for 200 latents of each class.
    assert found.auc == pytest.approx(0.5, abs=0.1)


def test_a_noisy_statistic_is_worth_what_its_own_auc_says() -> None:
    survived = STATISTICS["max"] + RNG.normal(size=400) > 0
    found = predict_survival(STATISTICS, survived)
    assert found is not None
    assert len(found.auc_by_fold) == N_FOLDS
    assert found.auc == pytest.approx(float(roc_auc_score(survived, STATISTICS["max"])), abs=0.03)


def test_a_statistic_that_is_the_same_for_all_does_no_harm() -> None:
    constant = {**STATISTICS, "decoder_norm": np.ones(400)}
    found = predict_survival(constant, STATISTICS["max"] > 0)
    assert found is not None
    assert found.coefficients["decoder_norm"] == pytest.approx(0.0)


@pytest.mark.parametrize("n_survived", [0, SMALLEST_CLASS - 1, 400 - SMALLEST_CLASS + 1, 400])
def test_it_needs_enough_of_both(n_survived: int) -> None:
    assert predict_survival(STATISTICS, np.arange(400) < n_survived) is None
