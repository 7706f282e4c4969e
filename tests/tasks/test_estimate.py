"""Intervals are what they claim to be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from saetransfer.tasks.estimate import estimate
from saetransfer.tasks.metric import Metric, ratio
from saetransfer.tasks.shelf import TASKS, metrics

MEAN = Metric(
    name="mean",
    unit="1",
    higher_is_better=None,
    definition="a mean",
    source="the textbook",
    compute=lambda sums: ratio(sums["x"], sums["n"]),
    undefined="no tokens",
    counted="n",
)


def documents(n_units: int, seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    n = generator.integers(1, 20, n_units).astype(float)
    return {"n": n, "x": n * generator.normal(1.0, 1.0, n_units)}


def test_the_interval_is_that_of_scipy() -> None:
    sums = documents(60, seed=0)
    ours = estimate([MEAN], sums)["mean"].ci
    assert ours is not None
    theirs = stats.bootstrap(
        (sums["x"], sums["n"]),
        lambda x, n, axis: x.sum(axis=axis) / n.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=9999,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    width = theirs.high - theirs.low
    # 1,000 draws place a quantile within about a twentieth of the interval's width.
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.1 * width)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        low, high = estimate([MEAN], documents(80, seed))["mean"].ci or (0.0, 0.0)
        covered += low <= 1.0 <= high
    # Binomial(200, 0.95) lies between 0.88 and 0.99 but for one in a thousand.
    assert 0.88 <= covered / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    sums = documents(30, seed=0)
    assert estimate([MEAN], sums, seed=3) == estimate([MEAN], sums, seed=3)
    assert estimate([MEAN], sums, seed=3) != estimate([MEAN], sums, seed=4)


def test_a_single_document_has_a_value_and_no_interval() -> None:
    found = estimate([MEAN], documents(1, seed=0))["mean"]
    assert found.value is not None
    assert (found.ci, found.reason) == (None, "a single document cannot be resampled")


def test_what_cannot_be_computed_has_a_reason() -> None:
    found = estimate([MEAN], {"n": np.zeros(3), "x": np.zeros(3)})["mean"]
    assert (found.value, found.ci, found.reason) == (None, None, "no tokens")


def test_every_metric_says_what_it_is() -> None:
    assert len(metrics()) == sum(len(task.metrics) for task in TASKS.values())
    for name, metric in metrics().items():
        assert name == metric.name
        assert name.split(".")[0] in TASKS
        assert metric.definition
        assert metric.source
        assert metric.unit
        assert metric.undefined
