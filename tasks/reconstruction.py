"""How well an SAE rebuilds the activations of a state.

x_t are the activations at the site, f_t = encode(x_t), y_t = decode(f_t), over the T valid tokens of the whole text
(no BOS, EOS, padding); mu is the mean of x over the same tokens.

    FVU = sum_t |x_t - y_t|^2 / sum_t |x_t - mu|^2,    explained variance = 1 - FVU

as in SAELens >= 6.45.1 (`ExplainedVarianceCalculator`); a predictor of the mean has 0. SAEBench 0.6.0's "explained
variance" takes the variance about zero and gives such a predictor up to 0.87; earlier ones average a ratio per token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from .batch import CellBatch
from .firings import summed
from .metric import Metric, Totals, Values, ratio
from .tally import Tally
from .task import DOCUMENTS, Sums


def _mean(name: str) -> Callable[[Totals], Values]:
    return lambda totals: ratio(totals[name], totals["n_tokens"])


def _fvu(totals: Totals) -> Values:
    # Cancellation leaves about 1e-7 of the sum of squares in float32; below that there is no variance to explain.
    floor = 1e-12 * np.asarray(totals["x_squared"]).max()
    return ratio(totals["residual_squared"], totals["centred_squared"], floor)


_metric = partial(Metric, unit="1", source="SAELens evals", undefined="no valid tokens", counted="n_tokens")
_variance = partial(
    _metric, source="SAELens >= 6.45.1, ExplainedVarianceCalculator", undefined="the activations have no variance"
)
_share_of_latents = partial(_metric, valid_range=(0.0, 1.0), resampled=False)

METRICS = (
    _variance(
        name="reconstruction.explained_variance",
        higher_is_better=True,
        definition="1 - sum |x-y|^2 / sum |x-mean(x)|^2, sums over all tokens",
        compute=lambda totals: 1.0 - _fvu(totals),
        valid_range=(None, 1.0),
    ),
    _variance(
        name="reconstruction.fvu",
        higher_is_better=False,
        definition="fraction of variance unexplained: sum |x-y|^2 / sum |x-mean(x)|^2",
        compute=_fvu,
        valid_range=(0.0, None),
    ),
    _metric(
        name="reconstruction.mse",
        higher_is_better=False,
        definition="mean over tokens of |x-y|^2, summed over channels",
        compute=_mean("residual_squared"),
        valid_range=(0.0, None),
    ),
    _metric(
        name="reconstruction.cosine",
        higher_is_better=True,
        definition="mean over tokens of the cosine of x and y (0 where one of them is zero)",
        compute=_mean("cosine"),
        valid_range=(-1.0, 1.0),
    ),
    _metric(
        name="reconstruction.l2_ratio",
        higher_is_better=None,
        definition="mean over tokens of |y| / |x|; below 1 the SAE shrinks",
        compute=_mean("l2_ratio"),
        valid_range=(0.0, None),
    ),
    _metric(
        name="reconstruction.relative_bias",
        higher_is_better=None,
        definition="sum |y|^2 / sum x.y; 1 for an unbiased reconstruction",
        source="arXiv 2404.16014, Eq. 10",
        compute=lambda totals: np.divide(totals["y_squared"], totals["x_dot_y"]),
        undefined="activations and reconstructions are orthogonal",
    ),
    _metric(
        name="reconstruction.l0",
        unit="latents",
        higher_is_better=None,
        definition="mean over tokens of the number of latents that are not 0",
        compute=_mean("l0"),
        valid_range=(0.0, None),
    ),
    _metric(
        name="reconstruction.l1",
        higher_is_better=None,
        definition="mean over tokens of the sum of |latents|",
        compute=_mean("l1"),
        valid_range=(0.0, None),
    ),
    _share_of_latents(
        name="reconstruction.alive_fraction",
        higher_is_better=True,
        definition="share of latents that fire on at least one token",
        compute=lambda totals: totals["alive_fraction"],
    ),
    _share_of_latents(
        name="reconstruction.density_over_1pct",
        higher_is_better=None,
        definition="share of latents that fire on more than 1 % of the tokens",
        compute=lambda totals: totals["density_over_1pct"],
    ),
    _share_of_latents(
        name="reconstruction.density_over_10pct",
        higher_is_better=None,
        definition="share of latents that fire on more than 10 % of the tokens",
        compute=lambda totals: totals["density_over_10pct"],
    ),
)


class ReconstructionMeter:
    """Sums of the reconstruction task on one cell."""

    def __init__(self, n_units: int) -> None:
        self._tally = Tally(n_units)
        self._fired: Int[Tensor, " d_sae"] | None = None
        self._n_tokens = 0

    def update(self, batch: CellBatch) -> None:
        """Count a batch: sums by token in float32, by document in float64."""
        x, y, fired = batch.site.activations.float(), batch.reconstruction, batch.firings
        x_norm, y_norm, x_dot_y = x.norm(dim=1), y.norm(dim=1), (x * y).sum(dim=1)
        residual, centred = x - y, x - batch.site.mean
        values = {
            "n_tokens": torch.ones_like(x_norm),
            "residual_squared": residual.square().sum(dim=1),
            "centred_squared": centred.square().sum(dim=1),
            "x_squared": x_norm.square(),
            "y_squared": y_norm.square(),
            "x_dot_y": x_dot_y,
            "cosine": torch.nn.functional.cosine_similarity(x, y, dim=1),
            # A token whose activation is zero has no ratio; SAELens divides by 1 there, too.
            "l2_ratio": y_norm / torch.where(x_norm > 0, x_norm, torch.ones_like(x_norm)),
            "l0": fired.by_token().double(),
            "l1": summed(fired.token, fired.value.abs(), len(x)),
        }
        for name, value in values.items():
            self._tally.add(name, value, batch.state.unit)
        by_latent = torch.bincount(fired.latent, minlength=batch.features.shape[1])
        self._fired = by_latent if self._fired is None else self._fired + by_latent
        self._n_tokens += len(x)

    def sums(self) -> Sums:
        """Sums by document, and how often latents fire."""
        if self._fired is None:
            return Sums({DOCUMENTS: self._tally.sums()})
        density = self._fired.double().cpu().numpy() / max(self._n_tokens, 1)
        constants = {
            "alive_fraction": np.mean(density > 0),
            "density_over_1pct": np.mean(density > 0.01),
            "density_over_10pct": np.mean(density > 0.1),
        }
        return Sums({DOCUMENTS: self._tally.sums()}, constants)


@dataclass(frozen=True)
class Reconstruction:
    """The task `reconstruction`."""

    name: str = "reconstruction"
    version: int = 1
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = METRICS
    paired: tuple[str, ...] = ("n_tokens", "residual_squared", "centred_squared", "x_squared", "l0")

    def meter(self, n_units: int) -> ReconstructionMeter:
        """A new count over that many documents."""
        return ReconstructionMeter(n_units)
