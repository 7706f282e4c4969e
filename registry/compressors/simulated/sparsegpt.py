"""SparseGPT: prune, and let the weights that remain make good what is lost.

Frantar and Alistarh 2023, "SparseGPT: Massive Language Models Can be Accurately Pruned in One-Shot", arXiv 2301.00774,
with the constants of github.com/IST-DASLab/sparsegpt: blocks of 128 columns, damping 0.01. In each block the weights of
smallest `w^2 / U_jj^2` over all rows are pruned, by the weights as they are when the block is reached; there the
published code compares with the value at place `floor(n * sparsity)`, itself included, so that one weight more than the
share falls in each block. So it does here. For N:M, the choice is made every M columns, for each row.
"""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from ...calibration import Calibration
from ..linear import LinearLayer
from ..method import Method
from ..outcome import CompressionWarning
from ..promise import Promise
from .allocation import Allocation, BlockSparsity, block_sparsities, zeros_with
from .masks import Sparsity, lowest, lowest_in_groups
from .obs import BLOCK_COLUMNS, inverse_factor, settle, without_dead_inputs
from .statistics import gram_matrices

Damping = Annotated[float, Field(gt=0, description="share of the mean of the Hessian's diagonal added to it")]


def sparsegpt(
    model: PreTrainedModel,
    calibration: Calibration,
    *,
    sparsity: Sparsity,
    allocation: Allocation = "uniform",
    damping: Damping = 0.01,
) -> PreTrainedModel:
    """Prune with compensation, block by block of the model.

    Args:
        allocation: how the share is divided among blocks of the model; `owl`: by their outliers.
    """
    sparsities = block_sparsities(model, calibration, sparsity, allocation)
    for block in calibration.blocks(model):
        grams = gram_matrices(block)
        for layer in block.layers:
            warn_of_few_tokens(calibration, layer.shape[1])
            # Popped, so that a wide layer's matrix is gone before the next block's are made.
            weight, factor = weight_and_factor(layer, grams.pop(layer.name), damping, block.index)
            pruned = prune_with_compensation(weight, factor, sparsities[block.index])
            layer.set_weight(pruned.to(layer.weight.dtype))
    return model


def weight_and_factor(
    layer: LinearLayer, gram: Float[Tensor, "in in"], damping: float, block: int
) -> tuple[Float[Tensor, "out in"], Float[Tensor, "in in"]]:
    """The matrix without the weights of dead inputs, and U of its inverse Hessian."""
    weight, gram = without_dead_inputs(layer.weight, gram)
    return weight, inverse_factor(gram, damping, f"block {block}, {layer.name}")


def prune_with_compensation(
    weight: Float[Tensor, "out in"], factor: Float[Tensor, "in in"], sparsity: BlockSparsity
) -> Float[Tensor, "out in"]:
    """One matrix, pruned; `factor` is U of the inverse Hessian."""
    diagonal = factor.diagonal()
    # Columns that the mask is chosen for at once: a block for a share, M for a pattern.
    width = sparsity[1] if isinstance(sparsity, tuple) else BLOCK_COLUMNS
    mask = torch.zeros(0, 0, dtype=torch.bool)

    def rule(index: int, ahead: Float[Tensor, "column out"]) -> Float[Tensor, " out"]:
        nonlocal mask
        if index % width == 0:
            columns = ahead[:width]
            scores = (columns / diagonal[index : index + len(columns), None]).square()
            mask = _chosen(scores.T, sparsity).T
        return ahead[0].masked_fill(mask[index % width], 0)

    return settle(weight, factor, rule, width * max(1, BLOCK_COLUMNS // width))


def _chosen(scores: Float[Tensor, "out column"], sparsity: BlockSparsity) -> Bool[Tensor, "out column"]:
    if isinstance(sparsity, tuple):
        return lowest_in_groups(scores.contiguous(), sparsity)
    flat = scores.reshape(1, -1)
    return lowest(flat, min(int(flat.shape[1] * sparsity) + 1, flat.shape[1])).view_as(scores)


def warn_of_few_tokens(calibration: Calibration, in_features: int) -> None:
    """Say that a Hessian has not its full rank, so that damping decides much of the result."""
    if calibration.n_tokens < in_features:
        warnings.warn(
            f"{calibration.n_tokens} calibration tokens for layers of up to {in_features} inputs: their Hessians are "
            "singular, and damping decides much of the result. Give more sequences or longer ones.",
            CompressionWarning,
            stacklevel=2,
        )


def _promise(params: dict[str, Any]) -> Promise:
    return Promise(zeros=(zeros_with(params),))


SPARSEGPT = Method(
    name="sparsegpt",
    function=sparsegpt,
    tier="simulated",
    needs_calibration=True,
    summary="prunes column by column, the remaining weights make good what is lost; N:M",
    source="https://arxiv.org/abs/2301.00774",
    promise=_promise,
)
