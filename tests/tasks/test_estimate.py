"""Intervals are what they claim to be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from saetransfer.tasks.estimate import ONE_UNIT, estimate
from saetransfer.tasks.metric import Metric, ratio
from saetransfer.tasks.shelf import KINDS, make, metrics
from saetransfer.tasks.task import DOCUMENTS, Sums

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


def of_documents(sums: dict[str, np.ndarray]) -> Sums:
    return Sums({DOCUMENTS: sums})


def test_the_interval_is_that_of_scipy() -> None:
    sums = documents(60, seed=0)
    ours = estimate([MEAN], of_documents(sums))["mean"].ci
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
        low, high = estimate([MEAN], of_documents(documents(80, seed)))["mean"].ci or (0.0, 0.0)
        covered += low <= 1.0 <= high
    # Binomial(200, 0.95) lies between 0.88 and 0.99 but for one in a thousand.
    assert 0.88 <= covered / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    sums = documents(30, seed=0)
    assert estimate([MEAN], of_documents(sums), seed=3) == estimate([MEAN], of_documents(sums), seed=3)
    assert estimate([MEAN], of_documents(sums), seed=3) != estimate([MEAN], of_documents(sums), seed=4)


def test_a_single_document_has_a_value_and_no_interval() -> None:
    found = estimate([MEAN], of_documents(documents(1, seed=0)))["mean"]
    assert found.value is not None
    assert (found.ci, found.reason) == (None, ONE_UNIT)


def test_what_cannot_be_computed_has_a_reason() -> None:
    found = estimate([MEAN], of_documents({"n": np.zeros(3), "x": np.zeros(3)}))["mean"]
    assert (found.value, found.ci, found.reason) == (None, None, "no tokens")


def test_every_metric_says_what_it_is() -> None:
    assert len(metrics()) == sum(len(make(name).metrics) for name in KINDS)
    for name, metric in metrics().items():
        assert name == metric.name
        assert name.split(".")[0] in KINDS
        assert metric.definition
        assert metric.source
        assert metric.unit
        assert not isinstance(metric, Metric) or metric.undefined


def test_the_halves_are_disjoint_and_all_of_the_text() -> None:
    sums = documents(31, seed=0)
    total = dataclasses.replace(MEAN, compute=lambda totals: np.asarray(totals["x"]))
    halves = estimate([total], of_documents(sums))["mean"].halves
    assert halves is not None
    assert sum(halves) == pytest.approx(sums["x"].sum())
    n = estimate(
        [dataclasses.replace(MEAN, compute=lambda totals: np.asarray(totals["n"]))], of_documents({"n": np.ones(31)})
    )
    assert n["mean"].halves == (15.0, 16.0)


def test_samples_are_drawn_apart_from_each_other_and_the_variance_of_a_mean_over_them_adds_up() -> None:
    first, second = (np.random.default_rng(seed).normal(size=400) for seed in (1, 2))
    both = Metric(
        name="both",
        unit="1",
        higher_is_better=None,
        definition="mean of two means",
        source="the textbook",
        compute=lambda sums: (ratio(sums["x"], 400) + ratio(sums["y"], 400)) / 2,
        undefined="",
        counted="x",
    )
    ci = estimate([both], Sums({"one": {"x": first}, "two": {"y": second}}))["both"].ci
    assert ci is not None
    textbook = 2 * 1.96 * np.sqrt((first.var() + second.var()) / 400) / 2
    assert ci[1] - ci[0] == pytest.approx(textbook, rel=0.1)


@pytest.mark.parametrize("width", [3, 20_000])
def test_sums_by_latent_are_drawn_like_others_however_wide_they_are(width: int) -> None:
    sums = documents(30, seed=0)
    wide = {name: np.repeat(values[:, None], width, axis=1) for name, values in sums.items()}
    of_latents = dataclasses.replace(MEAN, compute=lambda totals: ratio(totals["x"], totals["n"]).mean(axis=-1))
    one, many = estimate([MEAN], of_documents(sums))["mean"], estimate([of_latents], of_documents(wide))["mean"]
    assert many.value == pytest.approx(one.value)
    assert many.ci == pytest.approx(one.ci)


# The square of a mean is never below the square of its noise: its draws lie above it.
SQUARE = dataclasses.replace(MEAN, compute=lambda totals: np.square(ratio(totals["x"], totals["n"])))


def test_a_centred_interval_is_the_percentile_interval_shifted_onto_the_value() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=40)
    sums = of_documents({"n": np.ones(40), "x": x - x.mean() + 0.05})
    plain = estimate([SQUARE], sums)["mean"]
    centred = estimate([dataclasses.replace(SQUARE, interval="centred")], sums)["mean"]
    assert plain.value == centred.value == pytest.approx(0.05**2)
    assert plain.ci is not None
    assert centred.ci is not None
    assert centred.ci[1] - centred.ci[0] == pytest.approx(plain.ci[1] - plain.ci[0])
    assert centred.ci[0] < 0 < centred.value < centred.ci[1] < plain.ci[1]


def test_a_centred_interval_ends_where_the_metric_does() -> None:
    sums = of_documents({"n": np.ones(40), "x": np.random.default_rng(0).normal(size=40)})
    centred = dataclasses.replace(SQUARE, interval="centred", valid_range=(0.0, 0.01))
    assert estimate([centred], sums)["mean"].ci == (0.0, 0.01)


def test_what_is_derived_stands_beside_the_sums() -> None:
    sums = documents(30, seed=0)
    derived = {"double": lambda totals: 2 * totals["x"], "half": lambda totals: totals["double"] / 4}
    of_derived = dataclasses.replace(MEAN, compute=lambda totals: ratio(2 * totals["half"], totals["n"]))
    found = estimate([of_derived], Sums({DOCUMENTS: sums}, derived=derived))["mean"]
    assert found == estimate([MEAN], of_documents(sums))["mean"]


def test_a_nan_that_is_derived_is_no_nan_in_the_sums() -> None:
    undefined = dataclasses.replace(MEAN, compute=lambda totals: totals["nothing"])
    sums = Sums({DOCUMENTS: documents(3, seed=0)}, derived={"nothing": lambda totals: totals["x"] * np.nan})
    assert estimate([undefined], sums)["mean"].reason == "no tokens"


def test_a_reason_of_the_cell_stands_before_that_of_the_metric_and_nothing_is_computed() -> None:
    other = dataclasses.replace(MEAN, name="other", compute=lambda totals: totals["missing"])
    found = estimate([other, MEAN], Sums({DOCUMENTS: documents(30, seed=0)}, reasons={"other": "not here"}))
    assert list(found) == ["other", "mean"]
    assert (found["other"].value, found["other"].ci, found["other"].reason) == (None, None, "not here")
    assert found["mean"].value is not None
