"""Whether two sets of repeated measurements of a cost differ by more than chance, as asv decides it.

Mann-Whitney U over the single repeats: different where p < 0.002. Five repeats a side cannot reach that p whatever they
are (the smallest is 2 / C(10, 5) = 0.008); there the sides must lie wholly apart, which is the most that they can say.
With fewer than five on a side nothing is said.

Source: asv, `_stats.is_different` (the threshold), `commands/compare.py` (the factor 1.1, our tolerance of 10 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

FEWEST = 5
P_DIFFERENT = 0.002
_EXACT = 20
"""Repeats up to which the exact distribution is quickly computed, and needed."""


def differ(base: Sequence[float], new: Sequence[float]) -> bool | None:
    """Whether the two differ; None where there are too few repeats to say."""
    from scipy.stats import mannwhitneyu

    if min(len(base), len(new)) < FEWEST:
        return None
    if 2 / comb(len(base) + len(new), len(new)) >= P_DIFFERENT:
        return max(base) < min(new) or max(new) < min(base)
    # Left to itself scipy turns to the normal approximation at the first tie, which for few repeats is far too careful.
    method = "exact" if min(len(base), len(new)) <= _EXACT else "asymptotic"
    return bool(mannwhitneyu(base, new, method=method).pvalue < P_DIFFERENT)
