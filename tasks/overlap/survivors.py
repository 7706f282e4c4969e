"""What became of each latent: the sums by latent of a cell, and what is told of them beside the figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..metric import Totals, UnitSums
from ..task import Sums
from .dictionaries import NOT_FINITE_DECODER, highest_cosine
from .figures import DERIVED
from .pearson import LatentSums, correlation
from .settings import OverlapSettings
from .survival import ONE_SIDED, Statistics, dense_statistics, predict_survival

BLOCKS = "blocks"
"""The sample of the sums by latent: its units are groups of documents."""


def latent_sums(counted: LatentSums, decoder: Float[Tensor, "d_sae d_in"], settings: OverlapSettings) -> Sums:
    """The sums of the active latents, which latents survive, and the table.

    Args:
        counted: sums of all latents, finite.
        decoder: of the frozen SAE, whose latents they are on the dense state.
        settings: of the task.
    """
    sums = counted.sums()
    totals = {name: values.sum(axis=0) for name, values in sums.items()}
    r = correlation(totals)
    latents = _Latents(totals, r, (totals["dense_firings"] >= settings.min_firings) & np.isfinite(r), settings)
    norm = decoder.float().norm(dim=1).double().cpu().numpy()
    statistics = dense_statistics(sums, counted.dense_max(), norm, highest_cosine(decoder))
    predicted = _predicted(statistics, latents, bool(torch.isfinite(decoder).all()))
    return Sums(
        samples={BLOCKS: _of_active(sums, latents.active)} if latents.active.any() else {},
        constants={"n_active": float(latents.active.sum()), **predicted.constants},
        details={"r_percent": latents.r_percent(), **predicted.details},
        table=_table(latents, statistics) if settings.table else None,
        derived=DERIVED if latents.active.any() else {},
        reasons=predicted.reasons,
    )


def _of_active(sums: UnitSums, active: Bool[np.ndarray, " latent"]) -> UnitSums:
    """The same active latents in every draw; others never count, so their sums need not be drawn."""
    return {name: values if values.ndim == 1 else values[:, active] for name, values in sums.items()}


@dataclass(frozen=True)
class _Latents:
    """All latents of a cell on the whole text."""

    totals: Totals
    r: Float[np.ndarray, " latent"]
    active: Bool[np.ndarray, " latent"]
    settings: OverlapSettings

    @property
    def survived(self) -> Bool[np.ndarray, " latent"]:
        return self.active & (self.r > self.settings.survived_above)

    def grades(self) -> np.ndarray:
        died, damaged = self.totals["state_firings"] == 0, self.r < self.settings.damaged_below
        names = ["inactive", "died", "damaged", "survived"]
        return np.select([~self.active, died, damaged, self.survived], names, default="blurred")

    def r_percent(self) -> list[int | None]:
        """100 r, rounded; None for latents that are not active."""
        return [round(100 * r) if active else None for r, active in zip(self.r.tolist(), self.active, strict=True)]


def _predicted(statistics: Statistics, latents: _Latents, finite: bool) -> Sums:
    """Whether dense statistics tell which latents survive."""
    of_active = {name: values[latents.active] for name, values in statistics.items()}
    if not finite:
        return Sums({}, reasons={"overlap.survival_auc": NOT_FINITE_DECODER})
    found = predict_survival(of_active, latents.survived[latents.active])
    if found is None:
        return Sums({}, reasons={"overlap.survival_auc": ONE_SIDED})
    details: dict[str, Any] = {"auc_by_fold": list(found.auc_by_fold), "coefficients": found.coefficients}
    return Sums({}, {"survival_auc": found.auc}, {"survival": details})


def _table(latents: _Latents, statistics: Statistics) -> dict[str, np.ndarray]:
    """What is known of each latent; means are over the tokens where it fires."""
    totals = latents.totals
    state_firings, shared = np.asarray(totals["state_firings"]), np.asarray(totals["shared_firings"])
    either = totals["dense_firings"] + state_firings - shared
    return {
        "latent": np.arange(len(latents.r)),
        "dense_firings": np.asarray(totals["dense_firings"]).astype(np.int64),
        "state_firings": state_firings.astype(np.int64),
        "dense_mean": statistics["mean"],
        "state_mean": totals["state_sum"] / np.maximum(state_firings, 1.0),
        "dense_max": statistics["max"],
        "r": latents.r,
        "grade": latents.grades(),
        "support_jaccard": np.where(either > 0, shared / np.maximum(either, 1.0), np.nan),
        "decoder_norm": statistics["decoder_norm"],
        "max_decoder_cosine": statistics["max_decoder_cosine"],
    }
