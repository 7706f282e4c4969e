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

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from .batch import CellBatch, StateBatch
from .metric import Metric, Totals, Values, ratio
from .settling import Losses
from .tally import Tally
from .task import DENSE_CELL, DOCUMENTS, Sums

SMALLEST_ABLATION_NATS = 0.05

_NO_TOKENS = "no token has a next token to predict"
NO_DENSE = "the same SAE has no figures on the dense state"
_OVERFLOW = "the cross-entropy is so large that its exponential overflows"
_SMALL_ABLATION = f"ablating the site costs less than {SMALLEST_ABLATION_NATS} nats, so there is nothing to recover"


def _ce(name: str, prefix: str = "") -> Callable[[Totals], Values]:
    return lambda totals: ratio(totals[prefix + name], totals[prefix + "n_scored"])


def _increase(totals: Totals, prefix: str = "") -> Values:
    return ratio(totals[prefix + "ce_spliced"] - totals[prefix + "ce_state"], totals[prefix + "n_scored"])


def _transfer_gap(totals: Totals) -> Values:
    if DENSE_CELL + "ce_spliced" not in totals:
        return np.full_like(np.asarray(totals["ce_state"]), np.nan)
    return _increase(totals) - _increase(totals, DENSE_CELL)


def _recovered(ablated: str) -> Callable[[Totals], Values]:
    def compute(totals: Totals) -> Values:
        worth = ratio(totals[ablated] - totals["ce_state"], totals["n_scored"])
        kept = ratio(totals[ablated] - totals["ce_spliced"], totals["n_scored"])
        return ratio(kept, worth, SMALLEST_ABLATION_NATS)

    return compute


def _mean_of(name: str) -> Callable[[Totals], Values]:
    return lambda totals: ratio(totals[name], totals["n_valid"])


_metric = partial(Metric, source="SAELens evals", undefined=_NO_TOKENS, counted="n_scored")
_cross_entropy = partial(_metric, unit="nats", valid_range=(0.0, None))
_perplexity = partial(_metric, unit="1", valid_range=(1.0, None), undefined=_OVERFLOW, higher_is_better=False)
_divergence = partial(_metric, unit="nats", valid_range=(0.0, None), counted="n_valid", higher_is_better=False)
_recovery = partial(_metric, unit="1", undefined=_SMALL_ABLATION, higher_is_better=True)

METRICS = (
    _cross_entropy(
        name="perplexity.ce_dense",
        higher_is_better=False,
        definition="cross-entropy of the dense model",
        compute=_ce("ce_dense"),
    ),
    _cross_entropy(
        name="perplexity.ce_state",
        higher_is_better=False,
        definition="cross-entropy of the state",
        compute=_ce("ce_state"),
    ),
    _cross_entropy(
        name="perplexity.ce_spliced",
        higher_is_better=False,
        definition="cross-entropy of the state with the SAE in",
        compute=_ce("ce_spliced"),
    ),
    _cross_entropy(
        name="perplexity.ce_zero",
        higher_is_better=None,
        definition="cross-entropy of the state with zeros at the site",
        compute=_ce("ce_zero"),
    ),
    _cross_entropy(
        name="perplexity.ce_mean",
        higher_is_better=None,
        definition="cross-entropy of the state with its mean activation at the site",
        compute=_ce("ce_mean"),
    ),
    _perplexity(
        name="perplexity.ppl_state",
        definition="exp(ce_state)",
        compute=lambda totals: np.exp(_ce("ce_state")(totals)),
    ),
    _perplexity(
        name="perplexity.ppl_spliced",
        definition="exp(ce_spliced)",
        compute=lambda totals: np.exp(_ce("ce_spliced")(totals)),
    ),
    _metric(
        name="perplexity.ce_model_increase",
        unit="nats",
        higher_is_better=False,
        definition="ce_state - ce_dense: what compression costs the model",
        source="arXiv 2606.03002",
        compute=lambda totals: ratio(totals["ce_state"] - totals["ce_dense"], totals["n_scored"]),
    ),
    _metric(
        name="perplexity.ce_splice_increase",
        unit="nats",
        higher_is_better=False,
        definition="ce_spliced - ce_state: what the SAE costs this state",
        compute=_increase,
    ),
    _metric(
        name="perplexity.transfer_gap",
        unit="nats",
        higher_is_better=False,
        definition="ce_splice_increase here minus that of the same SAE entry on the dense state: "
        "what compression costs the SAE",
        source="saetransfer",
        compute=_transfer_gap,
        undefined=NO_DENSE,
    ),
    _recovery(
        name="perplexity.loss_recovered_zero",
        definition="(ce_zero - ce_spliced) / (ce_zero - ce_state)",
        compute=_recovered("ce_zero"),
    ),
    _recovery(
        name="perplexity.loss_recovered_mean",
        definition="(ce_mean - ce_spliced) / (ce_mean - ce_state)",
        source="saetransfer",
        compute=_recovered("ce_mean"),
    ),
    _divergence(
        name="perplexity.kl_splice",
        definition="mean over tokens of KL(state || state with the SAE in)",
        compute=_mean_of("kl_splice"),
    ),
    _metric(
        name="perplexity.kl_score",
        unit="1",
        higher_is_better=True,
        definition="1 - KL(state || spliced) / KL(state || zero ablation)",
        compute=lambda totals: 1.0 - ratio(totals["kl_splice"], totals["kl_zero"]),
        undefined="zero ablation changes no prediction",
        counted="n_valid",
        valid_range=(None, 1.0),
    ),
    _divergence(
        name="perplexity.kl_model",
        definition="mean over tokens of KL(dense || state)",
        source="arXiv 2606.03002",
        compute=_mean_of("kl_model"),
    ),
)


class PerplexityMeter:
    """Sums of the perplexity task on one cell."""

    def __init__(self, n_units: int) -> None:
        self._tally = Tally(n_units)

    def update(self, batch: CellBatch) -> None:
        """Count a batch once it is settled; what all SAEs of a state or site share is computed once."""
        count = partial(self._count, batch.state, batch.site.zero, batch.site.mean_ablation, batch.spliced)
        batch.state.predictions.then(count)

    def _count(self, state: StateBatch, zero: Losses, mean: Losses, spliced: Losses) -> None:
        predictions = state.predictions
        values = {
            "n_valid": torch.ones_like(spliced.ce),
            "n_scored": state.scored.float(),
            "ce_dense": predictions.dense.ce,
            "ce_state": predictions.state.ce,
            "ce_spliced": spliced.ce,
            "ce_zero": zero.ce,
            "ce_mean": mean.ce,
            "kl_splice": spliced.kl,
            "kl_zero": zero.kl,
            "kl_model": predictions.dense.kl,
        }
        for name, value in values.items():
            self._tally.add(name, value, state.unit)

    def sums(self) -> Sums:
        """Sums by document."""
        return Sums({DOCUMENTS: self._tally.sums()})


@dataclass(frozen=True)
class Perplexity:
    """The task `perplexity`."""

    name: str = "perplexity"
    version: int = 1
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = METRICS
    paired: tuple[str, ...] = (
        "n_scored",
        "ce_dense",
        "ce_state",
        "ce_spliced",
        "ce_zero",
        "n_valid",
        "kl_splice",
        "kl_model",
    )

    def meter(self, n_units: int) -> PerplexityMeter:
        """A new count over that many documents."""
        return PerplexityMeter(n_units)
