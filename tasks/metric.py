"""A metric: everything there is to know about a figure, in one place, and how it follows from sums.

Every figure is a function of sums over tokens (a ratio of sums, never a mean of ratios). Sums are kept for each
resampling unit (a document), so the same function that gives the value gives its bootstrap interval:

    value = compute(sum over units),    draw_b = compute(sum over units, weighted by how often unit u was drawn)

A paired comparison (state against dense, spliced against not) resamples both sides with the same draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Values = Float[np.ndarray, "..."] | np.floating | float
"""A number, or one for each draw of the bootstrap; sums by latent have the latents as their last axis."""

Totals = Mapping[str, Values]
"""Sums by name: one for the value, one entry a draw for the interval."""

UnitSums = Mapping[str, Float[np.ndarray, "unit ..."]]
"""Sums by name, one entry a resampling unit; those by latent hold one number a latent in each."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One figure: what it is, which way is better, where its definition comes from."""

    name: str
    """Dotted name as it stands in records, for example `reconstruction.fvu`."""
    unit: str
    """`1` for a ratio, otherwise `nats`, `latents`, ..."""
    higher_is_better: bool | None
    """None where neither direction is better (an average count, a perplexity that both sides share)."""
    definition: str
    source: str
    kind: Literal["quality", "cost"] = "quality"
    valid_range: tuple[float | None, float | None] = (None, None)
    """Smallest and largest possible value; None for no bound."""


@dataclass(frozen=True, kw_only=True)
class Metric(Quantity):
    """A figure that follows from sums."""

    compute: Callable[[Totals], Values]
    """From sums to values; NaN where the metric has none."""
    undefined: str
    """Why there may be no value."""
    counted: str
    """Name of the sum or constant that counts the tokens (latents, examples) behind the value."""
    resampled: bool = True
    """Whether an interval can be had by resampling documents."""
    interval: Literal["percentile", "centred"] = "percentile"
    """`centred` for figures whose draws lie beside the value, such as shares of noisy latents: the percentiles are
    shifted so that the median of the draws falls on the value."""


@dataclass(frozen=True)
class Estimate:
    """The value of a metric on some text."""

    value: float | None
    ci: tuple[float, float] | None
    """95 % bootstrap interval over resampling units."""
    reason: str | None
    """Why there is no value or no interval."""
    halves: tuple[float, float] | None = None
    """The metric on two disjoint halves of the units: how far they lie apart is the noise of the text."""


def ratio(numerator: Values, denominator: Values, smallest: Values = 0.0) -> Values:
    """Numerator over denominator; NaN where the denominator is not above `smallest`."""
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    defined = denominator > smallest
    return np.where(defined, numerator / np.where(defined, denominator, 1.0), np.nan)
