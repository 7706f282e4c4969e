"""How well an SAE rebuilds the activations of a state.

x_t are the activations at the site, f_t = encode(x_t), y_t = decode(f_t), over the T valid tokens of the whole text
(no BOS, EOS, padding); mu is the mean of x over the same tokens.

    FVU = sum_t |x_t - y_t|^2 / sum_t |x_t - mu|^2,    explained variance = 1 - FVU

as in SAELens >= 6.45.1 (`ExplainedVarianceCalculator`); a predictor of the mean has 0. SAEBench 0.6.0's "explained
variance" takes the variance about zero and gives such a predictor up to 0.87; earlier ones average a ratio per token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from .batch import CellBatch
from .metric import Metric, Totals, ratio
from .tally import Tally
from .task import Sums

_NO_TOKENS = "no valid tokens"
_NO_VARIANCE = "the activations have no variance"
_SAELENS = "SAELens evals"


def _mean(name: str) -> Callable[[Totals], np.ndarray]:
    return lambda totals: ratio(totals[name], totals["n_tokens"])


def _fvu(totals: Totals) -> np.ndarray:
    # Cancellation leaves about 1e-7 of the sum of squares in float32; below that there is no variance to explain.
    floor = 1e-12 * np.asarray(totals["x_squared"]).max()
    return ratio(totals["residual_squared"], totals["centred_squared"], floor)


def _metric(
    name: str,
    unit: str,
    higher_is_better: bool | None,
    definition: str,
    compute: Callable[[Totals], np.ndarray],
    *,
    undefined: str = _NO_TOKENS,
    source: str = _SAELENS,
    valid_range: tuple[float | None, float | None] = (0.0, None),
    resampled: bool = True,
) -> Metric:
    return Metric(
        f"reconstruction.{name}",
        unit,
        higher_is_better,
        definition,
        source,
        compute,
        undefined,
        "n_tokens",
        valid_range=valid_range,
        resampled=resampled,
    )


METRICS = (
    _metric(
        "explained_variance",
        "1",
        True,
        "1 - sum |x-y|^2 / sum |x-mean(x)|^2, sums over all tokens",
        lambda totals: 1.0 - _fvu(totals),
        undefined=_NO_VARIANCE,
        source="SAELens >= 6.45.1, ExplainedVarianceCalculator",
        valid_range=(None, 1.0),
    ),
    _metric(
        "fvu",
        "1",
        False,
        "fraction of variance unexplained: sum |x-y|^2 / sum |x-mean(x)|^2",
        _fvu,
        undefined=_NO_VARIANCE,
        source="SAELens >= 6.45.1, ExplainedVarianceCalculator",
    ),
    _metric("mse", "1", False, "mean over tokens of |x-y|^2, summed over channels", _mean("residual_squared")),
    _metric(
        "cosine",
        "1",
        True,
        "mean over tokens of the cosine of x and y (0 where one of them is zero)",
        _mean("cosine"),
        valid_range=(-1.0, 1.0),
    ),
    _metric("l2_ratio", "1", None, "mean over tokens of |y| / |x|; below 1 the SAE shrinks", _mean("l2_ratio")),
    _metric(
        "relative_bias",
        "1",
        None,
        "sum |y|^2 / sum x.y; 1 for an unbiased reconstruction",
        lambda totals: np.divide(totals["y_squared"], totals["x_dot_y"]),
        undefined="activations and reconstructions are orthogonal",
        source="arXiv 2404.16014, Eq. 10",
        valid_range=(None, None),
    ),
    _metric("l0", "latents", None, "mean over tokens of the number of latents that are not 0", _mean("l0")),
    _metric("l1", "1", None, "mean over tokens of the sum of |latents|", _mean("l1")),
    *(
        _metric(
            name,
            "1",
            better,
            definition,
            lambda totals, name=name: np.asarray(totals[name]),
            valid_range=(0.0, 1.0),
            resampled=False,
        )
        for name, better, definition in (
            ("alive_fraction", True, "share of latents that fire on at least one token"),
            ("density_over_1pct", None, "share of latents that fire on more than 1 % of the tokens"),
            ("density_over_10pct", None, "share of latents that fire on more than 10 % of the tokens"),
        )
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
        x, y, f = batch.site.activations.float(), batch.reconstruction, batch.features
        x_norm, y_norm, x_dot_y = x.norm(dim=1), y.norm(dim=1), (x * y).sum(dim=1)
        residual, centred = x - y, x - batch.site.mean
        active = f != 0
        values = {
            "n_tokens": torch.ones_like(x_norm),
            "residual_squared": residual.square().sum(dim=1),
            "centred_squared": centred.square().sum(dim=1),
            "x_squared": x_norm.square(),
            "y_squared": y_norm.square(),
            "x_dot_y": x_dot_y,
            "cosine": torch.nn.functional.cosine_similarity(x, y, dim=1),
            "l2_ratio": y_norm / x_norm,
            "l0": active.sum(dim=1).float(),
            "l1": f.abs().sum(dim=1),
        }
        for name, value in values.items():
            self._tally.add(name, value, batch.state.unit)
        fired = active.sum(dim=0)
        self._fired = fired if self._fired is None else self._fired + fired
        self._n_tokens += len(x)

    def sums(self) -> Sums:
        """Sums by document, and how often latents fire."""
        if self._fired is None:
            return Sums(self._tally.sums())
        density = self._fired.double().cpu().numpy() / max(self._n_tokens, 1)
        constants = {
            "alive_fraction": np.mean(density > 0),
            "density_over_1pct": np.mean(density > 0.01),
            "density_over_10pct": np.mean(density > 0.1),
        }
        return Sums(self._tally.sums(), constants)


@dataclass(frozen=True)
class Reconstruction:
    """The task `reconstruction`."""

    name: str = "reconstruction"
    version: int = 1
    metrics: tuple[Metric, ...] = METRICS
    paired: tuple[str, ...] = ("n_tokens", "residual_squared", "centred_squared", "l0")

    def meter(self, n_units: int) -> ReconstructionMeter:
        """A new count over that many documents."""
        return ReconstructionMeter(n_units)
