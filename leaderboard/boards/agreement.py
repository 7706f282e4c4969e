"""Whether two states damage the same latents, from what their records tell of each latent.

A record of `overlap` holds r of every latent in percent (`details["overlap"]["r_percent"]`), None for those that are
not active. The damage of a latent is 1 - r; latents with r below the threshold, those that died (r = 0) among them, are
the damage set. Both measures are those of arXiv 2606.03002, over the latents that are active in both states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

FEWEST_LATENTS = 3
"""Two points always lie on a line."""

Percents = Sequence[int | None] | Float[np.ndarray, " latent"]
"""Of each latent, 100 r; None (NaN in an array) for those that are not active."""


class DamageCounts(NamedTuple):
    """Sizes of what two states damage."""

    both: int
    either: int
    active: int
    """Latents that are active in both states: those that are compared."""


def damage_counts(first: Percents, second: Percents, damaged_below: float = 0.5) -> DamageCounts:
    """How many latents both damage, and how many either."""
    # 100 * 0.55 is above 55 in binary.
    mine, yours = (r < round(100 * damaged_below, 9) for r in _active_in_both(first, second))
    return DamageCounts(int(np.count_nonzero(mine & yours)), int(np.count_nonzero(mine | yours)), len(mine))


def damage_jaccard(first: Percents, second: Percents, damaged_below: float = 0.5) -> float | None:
    """Latents damaged by both over those damaged by either; None where neither damages any."""
    both, either, _ = damage_counts(first, second, damaged_below)
    return both / either if either else None


def damage_spearman(first: Percents, second: Percents) -> float | None:
    """Rank correlation of the damage; None where too few latents are active, or all are damaged alike."""
    mine, yours = _active_in_both(first, second)
    if len(mine) < FEWEST_LATENTS or np.ptp(mine) == 0 or np.ptp(yours) == 0:
        return None
    from scipy.stats import rankdata  # a second, which a board without damaged latents need not wait for

    return float(np.corrcoef(rankdata(100 - mine), rankdata(100 - yours))[0, 1])


def _active_in_both(first: Percents, second: Percents) -> tuple[Float[np.ndarray, " active"], ...]:
    if len(first) != len(second):
        raise ValueError(
            f"{len(first)} latents and {len(second)} latents: give the lists of two states of the same SAE entry"
        )
    mine, yours = (np.asarray(percents, np.float64) for percents in (first, second))
    active = ~(np.isnan(mine) | np.isnan(yours))
    return mine[active], yours[active]
