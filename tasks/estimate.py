"""Values and 95 % intervals of metrics from sums by document.

Percentile bootstrap over documents (Efron 1979): documents, not tokens, are drawn, because tokens of one document
depend on each other. All metrics of a cell share the draws, and the draws follow from the seed and the number of
documents alone, so that two cells on the same text are resampled alike.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from .metric import Estimate, Metric, Totals, UnitSums

N_DRAWS = 1000
ONE_DOCUMENT = "a single document cannot be resampled"
NOT_FINITE = "not finite: activations, reconstructions or predictions hold NaN or infinity"
NOT_RESAMPLED = "no interval: it does not follow from sums by document"


def estimate(
    metrics: Iterable[Metric], sums: UnitSums, constants: Totals | None = None, seed: int = 0
) -> dict[str, Estimate]:
    """Every metric's value and interval.

    Args:
        metrics: what to compute.
        sums: sums by name, `[unit]` each.
        constants: totals that have no share of a document, for metrics with `resampled=False`.
        seed: of the draws.
    """
    totals = {name: values.sum() for name, values in sums.items()} | dict(constants or {})
    draws = _drawn(sums, seed)
    return {metric.name: _estimate(metric, totals, draws) for metric in metrics}


def _drawn(sums: UnitSums, seed: int) -> dict[str, Float[np.ndarray, " draw"]] | None:
    """The sums of every bootstrap draw, or None where there is nothing to draw from."""
    n_units = len(next(iter(sums.values())))
    if n_units < 2:
        return None
    share = np.full(n_units, 1.0 / n_units)
    weights = np.random.default_rng(seed).multinomial(n_units, share, size=N_DRAWS).astype(np.float64)
    return {name: weights @ values for name, values in sums.items()}


def _estimate(metric: Metric, totals: Totals, draws: Totals | None) -> Estimate:
    with np.errstate(all="ignore"):  # what overflows or is undefined becomes a reason below
        value = float(metric.compute(totals))
        if not np.isfinite(value):
            whole = all(np.isfinite(total) for total in totals.values())
            return Estimate(None, None, metric.undefined if whole else NOT_FINITE)
        if not metric.resampled:
            return Estimate(value, None, NOT_RESAMPLED)
        if draws is None:
            return Estimate(value, None, ONE_DOCUMENT)
        drawn = np.asarray(metric.compute(draws))
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size < N_DRAWS // 2:
        return Estimate(value, None, f"undefined in more than half of the draws: {metric.undefined}")
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(value, (float(low), float(high)), None)
