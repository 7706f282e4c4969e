"""What an SAE wins back from the frozen one on the same state: paired over documents where records allow it.

With s_u the sum of spliced cross-entropy over the n_u scored tokens of document u, for the frozen SAE and for this one:

    won = sum_u (s_u(frozen) - s_u(this)) / sum_u n_u

is a ratio of sums. Its standard error is that of the linearised ratio, d_u = s_u(frozen) - s_u(this) - won n_u:

    se = sqrt(U / (U - 1) sum_u d_u^2) / sum_u n_u,    interval = won +- 1.96 se

(Cochran, Sampling Techniques, 6.4). Without the sums, the interval is that between the ends of both intervals, which
is never too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..record import Measurement, Record
from .columns import L0, SPLICED
from .states import is_frozen

_Z = 1.959963984540054
"""Quantile of the normal distribution for 95 %."""
_SPLICED_SUMS, _COUNTS = "ce_spliced", "n_scored"
_UNIT = "nats"


def reference(own: Record, cells: Iterable[Record]) -> Record | None:
    """The frozen SAE that another is compared with, on the same state and at the same site.

    The one it was made from; else the one whose L0 is nearest, since only SAEs of equal L0 compare well.
    """
    frozen = [cell for cell in cells if is_frozen(cell)]
    made_from = [cell for cell in frozen if cell.spec.sae == own.spec.sae.get("base")]
    return nearest(own, made_from) or nearest(own, frozen)


def nearest(own: Record, rivals: Iterable[Record]) -> Record | None:
    """Of rivals with figures at the same site, the one of the nearest L0."""
    known = [rival for rival in rivals if rival.spec.site == own.spec.site and rival.status == "ok"]
    return min(known, key=lambda rival: (_l0_apart(own, rival), rival.cell_id), default=None)


def won_back(own: Record, frozen: Record) -> Measurement | None:
    """Spliced cross-entropy with the frozen SAE minus that with this one, in nats; None where one is not known."""
    mine, theirs = own.metrics.get(SPLICED), frozen.metrics.get(SPLICED)
    if mine is None or theirs is None or mine.value is None or theirs.value is None:
        return None
    if (paired := _paired(own, frozen)) is not None:
        return paired
    ci = None if mine.ci is None or theirs.ci is None else (theirs.ci[0] - mine.ci[1], theirs.ci[1] - mine.ci[0])
    return Measurement(value=theirs.value - mine.value, unit=_UNIT, ci=ci)


def _paired(own: Record, frozen: Record) -> Measurement | None:
    mine, theirs = own.per_document.get(_SPLICED_SUMS), frozen.per_document.get(_SPLICED_SUMS)
    counts = own.per_document.get(_COUNTS)
    if not mine or not theirs or not counts or counts != frozen.per_document.get(_COUNTS):
        return None
    if not len(mine) == len(theirs) == len(counts) > 1:
        return None
    differences = [their - my for my, their in zip(mine, theirs, strict=True)]
    # `fsum` is exact, so that no machine rounds otherwise.
    tokens = math.fsum(counts)
    won = math.fsum(differences) / tokens
    squares = math.fsum((difference - won * count) ** 2 for difference, count in zip(differences, counts, strict=True))
    error = math.sqrt(len(counts) / (len(counts) - 1) * squares) / tokens
    return Measurement(value=won, unit=_UNIT, ci=(won - _Z * error, won + _Z * error), n=round(tokens))


def _l0_apart(own: Record, rival: Record) -> float:
    mine, theirs = own.metrics.get(L0), rival.metrics.get(L0)
    if mine is None or theirs is None or mine.value is None or theirs.value is None:
        return math.inf
    return abs(mine.value - theirs.value)
