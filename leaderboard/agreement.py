"""Whether two states damage the same latents, from what their records tell of each latent.

A record of `overlap` holds r of every latent in percent (`details["overlap"]["r_percent"]`), None for those that are
not active. The damage of a latent is 1 - r; latents with r below the threshold, those that died (r = 0) among them, are
the damage set. Both measures are those of arXiv 2606.03002, over the latents that are active in both states.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import stats

FEWEST_LATENTS = 3
"""Two points always lie on a line."""

Percents = Sequence[int | None]
"""Of each latent, 100 r; None for those that are not active."""


def damage_jaccard(first: Percents, second: Percents, damaged_below: float = 0.5) -> float | None:
    """Latents damaged by both over those damaged by either; None where neither damages any."""
    mine, yours = (r < 100 * damaged_below for r in _active_in_both(first, second))
    either = np.count_nonzero(mine | yours)
    return float(np.count_nonzero(mine & yours) / either) if either else None


def damage_spearman(first: Percents, second: Percents) -> float | None:
    """Rank correlation of the damage; None where too few latents are active, or all are damaged alike."""
    mine, yours = _active_in_both(first, second)
    if len(mine) < FEWEST_LATENTS or np.ptp(mine) == 0 or np.ptp(yours) == 0:
        return None
    return float(np.corrcoef(stats.rankdata(100 - mine), stats.rankdata(100 - yours))[0, 1])


def _active_in_both(first: Percents, second: Percents) -> tuple[Float[np.ndarray, " latent"], ...]:
    if len(first) != len(second):
        raise ValueError(
            f"{len(first)} latents and {len(second)} latents: give the lists of two states of the same SAE entry"
        )
    pairs = [(mine, yours) for mine, yours in zip(first, second, strict=True) if mine is not None and yours is not None]
    return tuple(np.asarray(pairs, np.float64).reshape(-1, 2).T)
