"""Whether states damage the same latents, from what their records tell of each latent: every state with every other.

A record of `overlap` holds r of every latent in percent (`details["overlap"]["r_percent"]`), None for those that are
not active. The damage of a latent is 1 - r; latents with r below the threshold, those that died (r = 0) among them, are
the damage set. Both measures, Jaccard's index of the damage sets and Spearman's rank correlation of the damage, are
those of arXiv 2606.03002, over the latents that are active in both states.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

FEWEST_LATENTS = 3
"""Two points always lie on a line."""

Percents = Float[np.ndarray, "state latent"]
"""100 r of each latent; NaN for those that are not active."""
Masks = Bool[np.ndarray, "state latent"]


class Agreement(NamedTuple):
    """What states of one SAE have in common, two at a time."""

    both: Int[np.ndarray, "state state"]
    """Latents that both damage."""
    either: Int[np.ndarray, "state state"]
    """Latents that either damages."""
    active: Int[np.ndarray, "state state"]
    """Latents that are active in both: those that are compared."""
    spearman: Float[np.ndarray, "state state"]
    """Rank correlation of the damage; NaN where too few latents are active, or all are damaged alike."""


def agreement(percents: Percents, damaged_below: float = 0.5) -> Agreement:
    """Compare every state with every other, and with itself."""
    active = ~np.isnan(percents)
    # 100 * 0.55 is above 55 in binary.
    damaged = percents < round(100 * damaged_below, 9)
    both = _shared(damaged, damaged)
    one = _shared(damaged, active)  # damaged by the first, active in the other
    return Agreement(both, one + one.T - both, _shared(active, active), _spearman(percents, active))


def _shared(first: Masks, second: Masks) -> Int[np.ndarray, "state state"]:
    # NumPy multiplies integers slowly; in float64 the counts are exact.
    return (first.astype(np.float64) @ second.T.astype(np.float64)).astype(np.int64)


def _spearman(percents: Percents, active: Masks) -> Float[np.ndarray, "state state"]:
    """States with the same active latents, which most of one SAE have, are compared all at once."""
    masks, mask_of_state = np.unique(active, axis=0, return_inverse=True)
    found = np.full((len(percents), len(percents)), np.nan)
    for first, second in combinations_with_replacement(range(len(masks)), 2):
        compared = masks[first] & masks[second]
        if compared.sum() < FEWEST_LATENTS:
            continue
        rows, columns = (np.flatnonzero(mask_of_state.ravel() == mask) for mask in (first, second))
        found[np.ix_(rows, columns)] = _ranks(percents[rows][:, compared]) @ _ranks(percents[columns][:, compared]).T
        found[np.ix_(columns, rows)] = found[np.ix_(rows, columns)].T
    return found


def _ranks(percents: Float[np.ndarray, "state active"]) -> Float[np.ndarray, "state active"]:
    """Ranks of the damage of each state as a vector of mean 0 and length 1; NaN where all are damaged alike."""
    from scipy.stats import rankdata  # a second, which a board without damaged latents need not wait for

    ranks = rankdata(100 - percents, axis=1)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return centred / np.linalg.norm(centred, axis=1, keepdims=True)
