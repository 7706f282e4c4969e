"""The intervals of shares of latents hold what another text of the same size would show."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
from jaxtyping import Float

from saetransfer.tasks.estimate import estimate
from saetransfer.tasks.metric import UnitSums
from saetransfer.tasks.overlap.figures import DERIVED
from saetransfer.tasks.overlap.survivors import BLOCKS
from saetransfer.tasks.overlap.task import Overlap
from saetransfer.tasks.task import Sums

NAMES = ("survived", "blurred", "damaged", "r_quantile_25", "r_quantile_50", "r_quantile_75")
METRICS = [metric for metric in Overlap().metrics if metric.name.removeprefix("overlap.") in NAMES]
N_TEXTS, N_BLOCKS, N_TOKENS, N_LATENTS = 40, 32, 40, 80


def text(seed: int) -> UnitSums:
    """Latents of all densities that come in bursts, each with noise of its own on the state."""
    of_latents, generator = np.random.default_rng(0), np.random.default_rng(100 + seed)
    density = np.exp(of_latents.uniform(np.log(0.005), np.log(0.05), N_LATENTS))
    noise = np.exp(of_latents.uniform(np.log(0.05), np.log(20.0), N_LATENTS))
    shape = (N_BLOCKS, N_TOKENS, N_LATENTS)
    burst = generator.gamma(1.0, 1.0, (N_BLOCKS, 1, N_LATENTS))
    a = (generator.random(shape) < density * burst) * generator.gamma(2.0, 1.0, shape)
    b = np.maximum(a + (a > 0) * noise * generator.normal(size=shape), 0.0)
    sums = {"dense_sum": a, "state_sum": b, "dense_squared": a * a, "state_squared": b * b, "product": a * b}
    firings = {"dense_firings": a > 0, "state_firings": b > 0, "shared_firings": (a > 0) & (b > 0)}
    by_block = {name: values.sum(axis=1, dtype=np.float64) for name, values in (sums | firings).items()}
    return {"block_tokens": np.full(N_BLOCKS, float(N_TOKENS)), **by_block}


@cache
def intervals() -> dict[str, Float[np.ndarray, "3 text metric"]]:
    """Lower end, value and upper end on many texts, of both kinds of interval."""
    plain = [dataclasses.replace(metric, interval="percentile", name=f"{metric.name}, plain") for metric in METRICS]
    found = np.empty((3, N_TEXTS, 2 * len(METRICS)))
    for seed in range(N_TEXTS):
        figures = estimate([*METRICS, *plain], Sums({BLOCKS: text(seed)}, derived=DERIVED))
        for column, figure in enumerate(figures.values()):
            assert figure.ci is not None
            assert figure.value is not None
            found[:, seed, column] = figure.ci[0], figure.value, figure.ci[1]
    return {"centred": found[:, :, : len(METRICS)], "percentile": found[:, :, len(METRICS) :]}


def test_every_metric_by_latent_asks_for_centred_intervals() -> None:
    assert {metric.interval for metric in METRICS} == {"centred"}


def test_the_value_lies_in_its_interval() -> None:
    low, value, high = intervals()["centred"]
    assert (low <= value).all()
    assert (value <= high).all()


def test_they_cover_what_other_texts_of_this_size_show() -> None:
    low, value, high = intervals()["centred"]
    truth = value.mean(axis=0)
    covered = ((low <= truth) & (truth <= high)).mean(axis=0)
    # Nominally 0.95; shares of 80 latents move in steps, and 32 blocks are few. Binomial(40, 0.9) is below 0.75 once in
    # a hundred.
    assert covered.min() >= 0.75
    assert covered.mean() >= 0.85


def test_plain_percentiles_lie_beside_the_value_and_these_do_not() -> None:
    low, value, high = intervals()["percentile"]
    plain = np.abs(((low + high) / 2 - value).mean(axis=0) / (high - low).mean(axis=0))
    low, value, high = intervals()["centred"]
    centred = np.abs(((low + high) / 2 - value).mean(axis=0) / (high - low).mean(axis=0))
    assert plain.max() > 0.15
    assert centred.max() < 0.1
