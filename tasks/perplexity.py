"""What the language model loses when the SAE's reconstruction takes the place of its activations.

Cross-entropies are means over scored tokens (input and target are both text), KL divergences over valid tokens, all in
nats from float32 log-probabilities. `state` is the model under test, `dense` its uncompressed original, `spliced` the
state with the reconstruction at every valid position (BOS and the like keep their own activations).

    ce_model_increase  = ce_state - ce_dense           what compression costs the model
    ce_splice_increase = ce_spliced - ce_state         what the SAE costs the state
    transfer_gap       = ce_splice_increase - ce_splice_increase of the same SAE entry on the dense state
    loss_recovered     = (ce_ablated - ce_spliced) / (ce_ablated - ce_state), all three on the same state

Loss recovered is a ratio to what the site is worth; below 0.05 nats (MLP and attention sites of small models) it says
nothing and is left out, which is why the increases in nats come first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from .batch import CellBatch
from .metric import Metric, Totals, ratio
from .tally import Tally
from .task import Sums

DENSE_CELL = "dense_cell."
"""Prefix of the sums that a cell takes over from the same SAE entry on the dense state."""

SMALLEST_ABLATION_NATS = 0.05

_NO_TOKENS = "no token has a next token to predict"
_NO_DENSE = "the same SAE has no figures on the dense state"
_SMALL_ABLATION = f"ablating the site costs less than {SMALLEST_ABLATION_NATS} nats, so there is nothing to recover"


def _ce(name: str, prefix: str = "") -> Callable[[Totals], np.ndarray]:
    return lambda totals: ratio(totals[prefix + name], totals[prefix + "n_scored"])


def _increase(totals: Totals, prefix: str = "") -> np.ndarray:
    return ratio(totals[prefix + "ce_spliced"] - totals[prefix + "ce_state"], totals[prefix + "n_scored"])


def _transfer_gap(totals: Totals) -> np.ndarray:
    if DENSE_CELL + "ce_spliced" not in totals:
        return np.full_like(np.asarray(totals["ce_state"]), np.nan)
    return _increase(totals) - _increase(totals, DENSE_CELL)


def _recovered(ablated: str) -> Callable[[Totals], np.ndarray]:
    def compute(totals: Totals) -> np.ndarray:
        worth = ratio(totals[ablated] - totals["ce_state"], totals["n_scored"])
        kept = ratio(totals[ablated] - totals["ce_spliced"], totals["n_scored"])
        return ratio(kept, worth, SMALLEST_ABLATION_NATS)

    return compute


def _metric(
    name: str,
    higher_is_better: bool | None,
    definition: str,
    compute: Callable[[Totals], np.ndarray],
    *,
    unit: str = "nats",
    undefined: str = _NO_TOKENS,
    valid_range: tuple[float | None, float | None] = (None, None),
    source: str = "SAELens evals",
    counted: str = "n_scored",
) -> Metric:
    return Metric(
        f"perplexity.{name}",
        unit,
        higher_is_better,
        definition,
        source,
        compute,
        undefined,
        counted,
        valid_range=valid_range,
    )


_OVERFLOW = "the cross-entropy is so large that its exponential overflows"
METRICS = (
    _metric("ce_dense", False, "cross-entropy of the dense model", _ce("ce_dense"), valid_range=(0, None)),
    _metric("ce_state", False, "cross-entropy of the state", _ce("ce_state"), valid_range=(0, None)),
    _metric("ce_spliced", False, "cross-entropy of the state with the SAE in", _ce("ce_spliced"), valid_range=(0, None)),
    _metric("ce_zero", None, "cross-entropy of the state with zeros at the site", _ce("ce_zero"), valid_range=(0, None)),
    _metric(
        "ce_mean", None, "cross-entropy of the state with its mean activation at the site", _ce("ce_mean"),
        valid_range=(0, None),
    ),
    _metric(
        "ppl_state", False, "exp(ce_state)", lambda totals: np.exp(_ce("ce_state")(totals)), unit="1",
        undefined=_OVERFLOW, valid_range=(1, None),
    ),
    _metric(
        "ppl_spliced", False, "exp(ce_spliced)", lambda totals: np.exp(_ce("ce_spliced")(totals)), unit="1",
        undefined=_OVERFLOW, valid_range=(1, None),
    ),
    _metric(
        "ce_model_increase", False, "ce_state - ce_dense: what compression costs the model",
        lambda totals: ratio(totals["ce_state"] - totals["ce_dense"], totals["n_scored"]),
        source="arXiv 2606.03002",
    ),
    _metric("ce_splice_increase", False, "ce_spliced - ce_state: what the SAE costs this state", _increase),
    _metric(
        "transfer_gap", False,
        "ce_splice_increase here minus that of the same SAE entry on the dense state: what compression costs the SAE",
        _transfer_gap, undefined=_NO_DENSE, source="saetransfer",
    ),
    _metric(
        "loss_recovered_zero", True, "(ce_zero - ce_spliced) / (ce_zero - ce_state)", _recovered("ce_zero"), unit="1",
        undefined=_SMALL_ABLATION, valid_range=(None, None),
    ),
    _metric(
        "loss_recovered_mean", True, "(ce_mean - ce_spliced) / (ce_mean - ce_state)", _recovered("ce_mean"), unit="1",
        undefined=_SMALL_ABLATION, valid_range=(None, None),
    ),
    _metric(
        "kl_splice", False, "mean over tokens of KL(state || state with the SAE in)",
        lambda totals: ratio(totals["kl_splice"], totals["n_valid"]), valid_range=(0, None), counted="n_valid",
    ),
    _metric(
        "kl_score", True, "1 - KL(state || spliced) / KL(state || zero ablation)",
        lambda totals: 1.0 - ratio(totals["kl_splice"], totals["kl_zero"]), unit="1",
        undefined="zero ablation changes no prediction", valid_range=(None, 1), counted="n_valid",
    ),
    _metric(
        "kl_model", False, "mean over tokens of KL(dense || state)",
        lambda totals: ratio(totals["kl_model"], totals["n_valid"]), valid_range=(0, None), counted="n_valid", source="arXiv 2606.03002",
    ),
)


class PerplexityMeter:
    """Sums of the perplexity task on one cell."""

    def __init__(self, n_units: int) -> None:
        self._tally = Tally(n_units)

    def update(self, batch: CellBatch) -> None:
        """Count a batch; what all SAEs of a state or site share is computed once."""
        state, site, spliced = batch.state, batch.site, batch.spliced
        values = {
            "n_valid": torch.ones_like(spliced.ce),
            "n_scored": state.scored.float(),
            "ce_dense": state.ce_dense,
            "ce_state": state.ce_state,
            "ce_spliced": spliced.ce,
            "ce_zero": site.zero.ce,
            "ce_mean": site.mean_ablation.ce,
            "kl_splice": spliced.kl,
            "kl_zero": site.zero.kl,
            "kl_model": state.kl_model,
        }
        for name, value in values.items():
            self._tally.add(name, value, state.unit)

    def sums(self) -> Sums:
        """Sums by document."""
        return Sums(self._tally.sums())


@dataclass(frozen=True)
class Perplexity:
    """The task `perplexity`."""

    name: str = "perplexity"
    version: int = 1
    metrics: tuple[Metric, ...] = METRICS
    paired: tuple[str, ...] = ("n_scored", "ce_dense", "ce_state", "ce_spliced")

    def meter(self, n_units: int) -> PerplexityMeter:
        """A new count over that many documents."""
        return PerplexityMeter(n_units)
