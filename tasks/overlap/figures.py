"""The figures of feature overlap and their definitions.

r_i is the Pearson correlation of latent i on the dense state and on the state under test, over the same tokens
(`pearson.py`), the measure of survival in arXiv 2606.03002. Active latents are those that fire often enough on the
dense state to say anything. Each of them is one of four: `survived` (r > 0.9), `damaged` (r < 0.5), `blurred`
(between), or `died` (never fires on the state; its r is 0). Both thresholds are ours and can be set; the
quantiles of r need none.

The intervals resample documents, and the active latents are those of the whole text in every draw. Noise moves latents
over a threshold one way more often than the other, so r of few firings blurs the shares: a draw, which holds fewer
distinct documents, blurs them once more. Their intervals are therefore centred on the value (`Metric.interval`); they
say where the figure would lie on another text of this size, not on one of infinite size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..metric import Metric, Totals, Values, ratio
from .pearson import correlation

QUANTILES = (10, 25, 50, 75, 90)

NOT_ACTIVE = "no latent fires often enough on the dense state and varies there"
NO_SIMILARITY = "one of the dictionaries has no latent that could be compared"


def _r_quantiles(totals: Totals) -> Values:
    """`[..., quantile]` over the latents that have an r."""
    r = np.sort(totals["r"], axis=-1)  # NaN comes last
    place = np.asarray(QUANTILES) / 100 * (np.isfinite(r).sum(axis=-1, keepdims=True) - 1)
    below = np.maximum(np.floor(place), 0).astype(int)
    low = np.take_along_axis(r, below, axis=-1)
    high = np.take_along_axis(r, np.minimum(below + 1, r.shape[-1] - 1), axis=-1)
    # The neighbour above the last one that has an r is not needed, and may be NaN.
    return np.where(place > below, low + (place - below) * (high - low), low)


DERIVED: dict[str, Callable[[Totals], Values]] = {"r": correlation, "r_quantiles": _r_quantiles}


def _mean(values: np.ndarray, defined: np.ndarray) -> Values:
    """The mean over the latents for which a value is defined."""
    return ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1, dtype=np.float64))


def _share(holds: Callable[[Totals], np.ndarray]) -> Callable[[Totals], Values]:
    """The share of latents, among those that have an r, for which something holds."""

    def compute(totals: Totals) -> Values:
        defined = np.isfinite(totals["r"])
        return _mean((defined & holds(totals)).astype(np.float64), defined)

    return compute


def _died(totals: Totals) -> np.ndarray:
    return np.asarray(totals["state_firings"]) == 0


def _between(r: np.ndarray, low: float, high: float) -> np.ndarray:
    return (r >= low) & (r <= high)


def _quantile(position: int) -> Callable[[Totals], Values]:
    return lambda totals: np.asarray(totals["r_quantiles"])[..., position]


def _support_jaccard(totals: Totals) -> Values:
    shared = totals["shared_firings"]
    jaccard = np.asarray(ratio(shared, totals["dense_firings"] + totals["state_firings"] - shared))
    return _mean(jaccard, np.isfinite(jaccard))


def _over_tokens(name: str, counted: str) -> Callable[[Totals], Values]:
    return lambda totals: ratio(totals[name], totals[counted])


def _constant(name: str) -> Callable[[Totals], Values]:
    return lambda totals: totals[name]


_by_latent = partial(
    Metric, unit="1", source="arXiv 2606.03002", undefined=NOT_ACTIVE, counted="n_active", interval="centred"
)
_of_latents = partial(_by_latent, valid_range=(0.0, 1.0))
_by_token = partial(Metric, unit="1", source="saetransfer", undefined="no valid tokens")
_of_dictionaries = partial(
    Metric,
    unit="1",
    higher_is_better=None,
    undefined=NO_SIMILARITY,
    valid_range=(-1.0, 1.0),
    resampled=False,
)


def by_latent(survived_above: float, damaged_below: float) -> tuple[Metric, ...]:
    """Figures of the active latents on two states."""
    ours = "thresholds are ours, arXiv 2606.03002 gives the measure"
    grades = (
        _of_latents(
            name="overlap.survived",
            higher_is_better=True,
            definition=f"share of active latents with r > {survived_above:g}",
            source=ours,
            compute=_share(lambda totals: np.asarray(totals["r"]) > survived_above),
        ),
        _of_latents(
            name="overlap.blurred",
            higher_is_better=False,
            definition=f"share of active latents with {damaged_below:g} <= r <= {survived_above:g} that have not died",
            source=ours,
            compute=_share(
                lambda totals: _between(np.asarray(totals["r"]), damaged_below, survived_above) & ~_died(totals)
            ),
        ),
        _of_latents(
            name="overlap.damaged",
            higher_is_better=False,
            definition=f"share of active latents with r < {damaged_below:g} that have not died",
            source=ours,
            compute=_share(lambda totals: (np.asarray(totals["r"]) < damaged_below) & ~_died(totals)),
        ),
        _of_latents(
            name="overlap.died",
            higher_is_better=False,
            definition="share of active latents that never fire on the state",
            compute=_share(_died),
        ),
    )
    quantiles = tuple(
        _by_latent(
            name=f"overlap.r_quantile_{percent}",
            higher_is_better=True,
            definition=f"{percent} % of the active latents have no higher r",
            compute=_quantile(position),
            valid_range=(-1.0, 1.0),
        )
        for position, percent in enumerate(QUANTILES)
    )
    return (*grades, *quantiles, *_SUPPORT)


_SUPPORT = (
    _of_latents(
        name="overlap.support_jaccard",
        higher_is_better=True,
        definition="mean over active latents of the tokens on which a latent fires on both states, over those on "
        "which it fires on either",
        source="saetransfer",
        compute=_support_jaccard,
    ),
    _of_latents(
        name="overlap.survival_auc",
        higher_is_better=None,
        definition="area under the ROC curve, cross-validated, of a logistic regression from dense statistics to "
        "having survived",
        source="saetransfer",
        compute=_constant("survival_auc"),
        resampled=False,
    ),
)

BY_TOKEN = (
    _by_token(
        name="overlap.token_jaccard",
        higher_is_better=True,
        definition="mean over tokens of the latents that fire on both states, over those that fire on either; tokens "
        "on which none fires are left out",
        compute=_over_tokens("token_jaccard", "n_firing_tokens"),
        undefined="no latent fires on any token",
        counted="n_firing_tokens",
        valid_range=(0.0, 1.0),
    ),
)
"""Of the same latents on both states, token by token."""

OF_ACTIVATIONS = (
    _by_token(
        name="overlap.activation_drift",
        higher_is_better=False,
        definition="mean over tokens of |x - x_dense| / |x_dense| (|x - x_dense| where x_dense is zero)",
        compute=_over_tokens("activation_drift", "n_tokens"),
        counted="n_tokens",
        valid_range=(0.0, None),
    ),
    _by_token(
        name="overlap.activation_cosine",
        higher_is_better=True,
        definition="mean over tokens of the cosine of x and x_dense (0 where one of them is zero)",
        compute=_over_tokens("activation_cosine", "n_tokens"),
        counted="n_tokens",
        valid_range=(-1.0, 1.0),
    ),
)
"""Of the activations at the site, whatever the SAE."""


DECODER = "decoder"
CORRELATION = "correlation"
"""How two dictionaries can be compared: prefixes of the constants that `between` reads."""


def by_decoder(threshold: float) -> tuple[Metric, ...]:
    """Figures of two dictionaries by the directions that their latents write."""
    return (
        _of_dictionaries(
            name="overlap.decoder_mmcs",
            definition="mean over this SAE's latents of the highest cosine of decoder directions with any latent of "
            "the frozen SAE at the site",
            source="Sharkey et al. 2022 (MMCS)",
            compute=_constant(f"{DECODER}_own"),
            counted=f"{DECODER}_n_own",
        ),
        _of_dictionaries(
            name="overlap.decoder_mmcs_of_frozen",
            definition="the same from the other side: mean over the frozen SAE's latents",
            source="Sharkey et al. 2022 (MMCS)",
            compute=_constant(f"{DECODER}_frozen"),
            counted=f"{DECODER}_n_frozen",
        ),
        _mutual(DECODER, "cosine of decoder directions", "this SAE's latents", threshold),
    )


def by_correlation(threshold: float) -> tuple[Metric, ...]:
    """Figures of two dictionaries by the correlation of their active latents on this state."""
    return (
        _of_dictionaries(
            name="overlap.correlation_nearest",
            definition="mean over this SAE's latents of the highest correlation of activations with any latent of the "
            "frozen SAE at the site; latents that fire often enough on this state",
            source="saetransfer",
            compute=_constant(f"{CORRELATION}_own"),
            counted=f"{CORRELATION}_n_own",
        ),
        _of_dictionaries(
            name="overlap.correlation_nearest_of_frozen",
            definition="the same from the other side: mean over the frozen SAE's latents",
            source="saetransfer",
            compute=_constant(f"{CORRELATION}_frozen"),
            counted=f"{CORRELATION}_n_frozen",
        ),
        _mutual(CORRELATION, "correlation of activations", "this SAE's latents that fire often enough", threshold),
    )


def _mutual(prefix: str, similarity: str, latents: str, threshold: float) -> Metric:
    return _of_dictionaries(
        name=f"overlap.{prefix}_mutual_nearest",
        definition=f"share of {latents} that are mutual nearest neighbours with a latent of the frozen SAE at the "
        f"site: {similarity} > {threshold:g}",
        source="saetransfer",
        compute=_constant(f"{prefix}_mutual"),
        counted=f"{prefix}_n_own",
        valid_range=(0.0, 1.0),
    )
