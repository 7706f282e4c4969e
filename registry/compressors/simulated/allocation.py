"""How much of each block is pruned: the same of all, given, or by its outliers (OWL).

OWL (Yin et al. 2024, "Outlier Weighed Layerwise Sparsity", arXiv 2310.05175; constants of github.com/luuyin/OWL): with
the Wanda scores A of all linear layers of block l together, on the dense model,

    D_l = share of A_ij > 5 mean(A)          (the block's outliers)
    density_l = 1 - sparsity + d_l - mean(d),  d_l = 0.16 (D_l - min D) / (max D - min D)

so blocks with more outliers keep more, within 0.08 or so of the mean, and the mean over blocks is the sparsity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from ...calibration import Calibration
from ...errors import RegistryError
from ...families import blocks_of
from ..linear import linear_layers
from ..promise import Zeros
from .masks import parse_pattern, refuse_odd_widths, zeros_of
from .statistics import input_norms

Allocation = Literal["uniform", "owl"]
BlockSparsity = float | tuple[int, int]
"""A share, or N and M."""

_OUTLIER_MULTIPLE = 5.0
_SPREAD = 0.08


def block_sparsities(
    model: PreTrainedModel, calibration: Calibration | None, sparsity: object, allocation: Allocation
) -> list[BlockSparsity]:
    """The sparsity of each block, first to last.

    Raises:
        RegistryError: a list of another length than the model has blocks, or OWL without calibration text.
        Impossible: an N:M pattern that does not divide the inputs of some layer.
    """
    n_blocks = len(blocks_of(model))
    pattern = parse_pattern(sparsity)
    if pattern is not None:
        refuse_odd_widths(linear_layers(model), pattern)
        return [pattern] * n_blocks
    if isinstance(sparsity, list):
        if len(sparsity) != n_blocks:
            raise RegistryError(f"`sparsity` names {len(sparsity)} blocks, and the model has {n_blocks}.")
        return list(sparsity)
    share = zeros_of(sparsity).share
    if allocation == "uniform":
        return [share] * n_blocks
    if calibration is None:
        raise RegistryError("The allocation 'owl' needs calibration text, and none was given.")
    return list(owl_sparsities(outlier_shares(model, calibration), share))


def outlier_shares(model: PreTrainedModel, calibration: Calibration) -> list[float]:
    """Of each block of the dense model, the share of Wanda scores that exceed five times their mean."""
    shares: list[float] = []
    for block in calibration.blocks(model):
        norms = input_norms(block)
        scores = [(layer.weight.float().abs() * norms[layer.name]).flatten() for layer in block.layers]
        n_scores = sum(score.numel() for score in scores)
        mean = sum(score.sum(dtype=torch.float64).item() for score in scores) / n_scores
        shares.append(sum(int((score > _OUTLIER_MULTIPLE * mean).sum()) for score in scores) / n_scores)
    return shares


def owl_sparsities(outliers: Sequence[float], sparsity: float) -> list[float]:
    """The sparsity of each block from its share of outliers; their mean is `sparsity`.

    Raises:
        RegistryError: a sparsity so extreme that some block would get none, or all.
    """
    low, high = min(outliers), max(outliers)
    spread = [0.0 if high == low else 2 * _SPREAD * (share - low) / (high - low) for share in outliers]
    mean = sum(spread) / len(spread)
    found = [sparsity - extra + mean for extra in spread]
    if not all(0 < share < 1 for share in found):
        raise RegistryError(
            f"OWL spreads sparsity {sparsity} to {min(found):.3f} ... {max(found):.3f}, which no block can have. "
            f"Choose one between {2 * _SPREAD} and {1 - 2 * _SPREAD}, or leave out `allocation`."
        )
    return found


def zeros_with(params: dict[str, Any]) -> Zeros:
    """What the parameters `sparsity` and `allocation` promise.

    Raises:
        RegistryError: they contradict each other, or an N:M pattern prunes nothing.
    """
    zeros = zeros_of(params["sparsity"])
    if zeros.pattern is not None and zeros.pattern[0] >= zeros.pattern[1]:
        raise RegistryError(f"The pattern {params['sparsity']} keeps every weight: give N:M with N below M, as in 2:4.")
    if params["allocation"] == "uniform":
        return zeros
    if zeros.pattern is not None or zeros.by_block is not None:
        raise RegistryError(
            f"`allocation: owl` divides a share among blocks, and `sparsity: {params['sparsity']!r}` leaves nothing to "
            "divide. Give `sparsity` as a share, or leave out `allocation`."
        )
    return Zeros(zeros.share, of="model")


def owl_needs_calibration(params: dict[str, Any]) -> bool:
    """For methods that need calibration text only to divide a share among blocks."""
    return params.get("allocation") == "owl"
