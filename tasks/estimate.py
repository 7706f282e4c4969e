"""Values and 95 % intervals of metrics from sums by resampling unit.

Percentile bootstrap over units (Efron 1979): documents, not tokens, are drawn, because tokens of one document depend on
each other; for probes, test examples are. All metrics of a cell share the draws of a sample, and the draws follow from
the seed, the sample's name and its number of units alone, so that two cells on the same text are resampled alike.

A percentile interval is the wrong one where noise in the sums moves the figure one way, as it moves latents over a
threshold: every draw adds that noise once more and lies beside the value. Metrics that say so get the same percentiles,
shifted so that the median of the draws falls on the value, and cut off at the ends of their range.

The noise floor of a metric is what it shows on two disjoint halves of the units, which the seed divides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from zlib import crc32

import numpy as np
from jaxtyping import Float

from .metric import Estimate, Metric, Totals, UnitSums, Values
from .task import DOCUMENTS, Sums

N_DRAWS = 1000
_MOST_NUMBERS = 2**20
"""Numbers in one array of drawn sums: sums by latent are drawn some at a time."""

ONE_UNIT = "a single document or example cannot be resampled"
NOT_FINITE = "not finite: activations, reconstructions or predictions hold NaN or infinity"
NOT_RESAMPLED = "no interval: it does not follow from sums by document"


def estimate(metrics: Iterable[Metric], sums: Sums, seed: int = 0) -> dict[str, Estimate]:
    """Every metric's value, interval and halves.

    Args:
        metrics: what to compute.
        sums: of a task on a cell, those taken over from its dense cell among them.
        seed: of the draws.
    """
    every = list(metrics)
    wanted = [metric for metric in every if metric.name not in sums.reasons]
    totals = _totals(sums, [np.ones(_n_units(units)) for units in sums.samples.values()])
    drawn = _drawn_values(wanted, sums, seed)
    halves = _halves(wanted, sums, seed)
    whole = all(np.isfinite(total).all() for name, total in totals.items() if name not in sums.derived)
    found = {
        metric.name: _estimate(metric, totals, whole, drawn[metric.name], halves[metric.name]) for metric in wanted
    }
    # In the order in which they were asked for.
    return {metric.name: found.get(metric.name) or _without(sums.reasons[metric.name]) for metric in every}


def _without(reason: str) -> Estimate:
    return Estimate(None, None, reason)


def _n_units(units: UnitSums) -> int:
    return len(next(iter(units.values())))


def _totals(sums: Sums, weights: Sequence[Float[np.ndarray, ...]]) -> Totals:
    """All sums, and what is derived, with each unit counted so often: one weight vector, or one a draw, a sample."""
    found: dict[str, Values] = dict(sums.constants)
    for units, weight in zip(sums.samples.values(), weights, strict=True):
        found |= {name: np.tensordot(weight, values, axes=(-1, 0)) for name, values in units.items()}
    with np.errstate(all="ignore"):  # as in a metric
        for name, make in sums.derived.items():
            found[name] = make(found)
    return found


def _compute(metric: Metric, totals: Totals) -> Values:
    with np.errstate(all="ignore"):  # what overflows or is undefined becomes a reason
        return np.asarray(metric.compute(totals), dtype=np.float64)


def _drawn_values(metrics: Sequence[Metric], sums: Sums, seed: int) -> dict[str, Float[np.ndarray, " draw"] | None]:
    """Every metric on every draw; None where there is nothing to draw from."""
    resampled = [metric for metric in metrics if metric.resampled]
    values: dict[str, list[np.ndarray]] = {metric.name: [] for metric in resampled}
    for totals in _draws(sums, seed):
        for metric in resampled:
            values[metric.name].append(np.atleast_1d(_compute(metric, totals)))
    found = {name: np.concatenate(parts) if parts else None for name, parts in values.items()}
    return {metric.name: found.get(metric.name) for metric in metrics}


def _draws(sums: Sums, seed: int) -> Iterator[Totals]:
    """The sums of all bootstrap draws, some draws at a time; none where any sample has fewer than two units."""
    if not sums.samples or any(_n_units(units) < 2 for units in sums.samples.values()):
        return
    weights = [_weights(name, _n_units(units), seed) for name, units in sums.samples.items()]
    widest = max(values[0].size for units in sums.samples.values() for values in units.values())
    at_once = max(1, _MOST_NUMBERS // widest)
    for start in range(0, N_DRAWS, at_once):
        yield _totals(sums, [weight[start : start + at_once] for weight in weights])


def _weights(sample: str, n_units: int, seed: int) -> Float[np.ndarray, "draw unit"]:
    share = np.full(n_units, 1.0 / n_units)
    # Samples of equal size must not be drawn alike: they have nothing to do with each other.
    own = () if sample == DOCUMENTS else (crc32(sample.encode()),)
    return np.random.default_rng((seed, *own)).multinomial(n_units, share, size=N_DRAWS).astype(np.float64)


def _halves(metrics: Sequence[Metric], sums: Sums, seed: int) -> dict[str, tuple[float, float] | None]:
    """Every metric on two random halves of the units; None where one of them has no value."""
    if not sums.samples or any(_n_units(units) < 2 for units in sums.samples.values()):
        return {metric.name: None for metric in metrics}
    first_half = [_half(name, _n_units(units), seed) for name, units in sums.samples.items()]
    both = (_totals(sums, first_half), _totals(sums, [1.0 - part for part in first_half]))
    found: dict[str, tuple[float, float] | None] = {}
    for metric in metrics:
        first, second = (float(_compute(metric, totals)) for totals in both)
        defined = metric.resampled and np.isfinite(first) and np.isfinite(second)
        found[metric.name] = (first, second) if defined else None
    return found


def _half(sample: str, n_units: int, seed: int) -> Float[np.ndarray, " unit"]:
    """1 for the units of one half, 0 for those of the other."""
    chosen = np.random.default_rng((seed, crc32(f"halves of {sample}".encode()))).permutation(n_units)
    return (chosen < n_units // 2).astype(np.float64)


def _estimate(
    metric: Metric,
    totals: Totals,
    whole: bool,
    drawn: Float[np.ndarray, " draw"] | None,
    halves: tuple[float, float] | None,
) -> Estimate:
    """`whole` says whether all sums are finite."""
    value = float(_compute(metric, totals))
    if not np.isfinite(value):
        return _without(metric.undefined if whole else NOT_FINITE)
    if not metric.resampled:
        return Estimate(value, None, NOT_RESAMPLED)
    if drawn is None:
        return Estimate(value, None, ONE_UNIT)
    finite = drawn[np.isfinite(drawn)]
    if finite.size < N_DRAWS // 2:
        return Estimate(value, None, f"undefined in more than half of the draws: {metric.undefined}", halves)
    return Estimate(value, _interval(metric, value, finite), None, halves)


def _interval(metric: Metric, value: float, drawn: Float[np.ndarray, " draw"]) -> tuple[float, float]:
    low, median, high = np.quantile(drawn, (0.025, 0.5, 0.975))
    if metric.interval == "centred":
        smallest, largest = metric.valid_range
        low = max(value + (low - median), -np.inf if smallest is None else smallest)
        high = min(value + (high - median), np.inf if largest is None else largest)
    return float(low), float(high)
