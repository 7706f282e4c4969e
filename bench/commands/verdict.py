"""What a compressor's figures amount to, in two sentences: said only as far as intervals allow.

Of two compressors one costs more if its interval lies wholly above the other's; otherwise nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from ...leaderboard.boards.columns import GAP, INCREASE, VARIANCE
from ...leaderboard.boards.figures import figure, share
from ...leaderboard.record import Measurement, Record

Order = Literal["more", "less", "unclear"]
_SAID: dict[Order, str] = {"less": "less than", "more": "more than", "unclear": "not told apart from"}


def sentences(own: Record, others: Sequence[Record]) -> Iterator[str]:
    """A verdict on one record.

    Args:
        own: measured, of any compressor.
        others: of other compressors on the same model, text and SAE, measured or not.
    """
    measured = [record for record in others if record.status == "ok"]
    dense = next((record for record in measured if not record.spec.compressor), None)
    rivals = [record for record in measured if record.spec.compressor]
    yield _cost(own, rivals)
    yield _features(own, dense)


def order(ours: Measurement | None, theirs: Measurement | None) -> Order:
    """Whether the first figure is more than the second, or less, or neither can be said."""
    if ours is None or theirs is None or ours.ci is None or theirs.ci is None:
        return "unclear"
    if ours.ci[0] > theirs.ci[1]:
        return "more"
    return "less" if ours.ci[1] < theirs.ci[0] else "unclear"


def _cost(own: Record, rivals: Sequence[Record]) -> str:
    ours = own.metrics.get(INCREASE)
    if ours is None or ours.value is None:
        return f"What {own.labels.compressor} costs the model has no figure: {ours.reason if ours else 'not measured'}."
    found: dict[Order, list[Record]] = {"less": [], "more": [], "unclear": []}
    for rival in rivals:
        found[order(ours, rival.metrics.get(INCREASE))].append(rival)
    parts = [f"{_SAID[key]} {_listed(rivals)}" for key, rivals in found.items() if rivals]
    comparison = f": {'; '.join(parts)}" if parts else ""
    return f"{own.labels.compressor} costs the model {figure(ours)} nats at {_size(own)} of its size{comparison}."


def _features(own: Record, dense: Record | None) -> str:
    gap = own.metrics.get(GAP)
    before = f", {figure(dense.metrics.get(VARIANCE))} on the dense model" if dense is not None else ""
    explained = f"The frozen SAE explains {figure(own.metrics.get(VARIANCE))} of the variance{before}"
    if gap is None or gap.value is None or gap.ci is None:
        return f"{explained}; its transfer gap has no interval."
    if gap.ci[0] > 0:
        return f"{explained}, and takes {figure(gap)} nats more from this model than from the dense one."
    if gap.ci[1] < 0:
        return f"{explained}, and takes {figure(gap)} nats less from this model than from the dense one."
    return f"{explained}; no transfer gap can be told from zero."


def _listed(records: Iterable[Record]) -> str:
    return ", ".join(f"{record.labels.compressor} ({_size(record)})" for record in records)


def _size(record: Record) -> str:
    sizes = (record.compression or {})["bytes"]
    return share(sizes["theoretical"] / sizes["dense"])
