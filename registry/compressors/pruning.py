"""Unstructured pruning: smallest magnitudes, and Wanda.

Both set weights of the blocks' linear layers to zero and leave the others as they are. Scores are ranked in float32
and a count, not a threshold, decides: ties are common in half precision, and a threshold prunes all of them at once.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from ..calibration import Block, Calibration
from .linear import linear_layers
from .method import Method
from .outcome import Promise

Share = Annotated[float, Field(gt=0, lt=1, description="share of weights set to zero")]


def magnitude(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
    *,
    sparsity: Share,
    scope: Literal["matrix", "row"] = "matrix",
) -> PreTrainedModel:
    """Zero the weights of smallest magnitude: `int(numel * sparsity)` in each matrix.

    Args:
        scope: the weights that compete with each other: those of a `matrix` (the usual baseline, as in
            github.com/locuslab/wanda), or those of a `row`, one output feature (`int(in_features * sparsity)` each).
    """
    for layer in linear_layers(model):
        weight = layer.weight
        score = weight.float().abs()
        group = score.reshape(1, -1) if scope == "matrix" else score
        zeroed = lowest(group, int(group.shape[1] * sparsity)).view_as(score)
        layer.set_weight(weight.masked_fill(zeroed, 0))
    return model


def wanda(model: PreTrainedModel, calibration: Calibration, *, sparsity: Share) -> PreTrainedModel:
    """Zero the weights of smallest `|W_ij| * |X_j|_2`, exactly `int(in_features * sparsity)` in each output row.

    `|X_j|_2` is the norm of input feature j over all calibration tokens. The walk is sequential: all layers of a block
    are scored on the dense block, and the pruned block's outputs are the next block's inputs.
    Source: Sun et al. 2023, "A Simple and Effective Pruning Approach for Large Language Models", arXiv 2306.11695;
    masks as github.com/locuslab/wanda (its division by the number of sequences does not change the ranking).
    """
    for block in calibration.blocks(model):
        norms = input_norms(block)
        for layer in block.layers:
            weight = layer.weight
            score = weight.float().abs() * norms[layer.name]
            layer.set_weight(weight.masked_fill(lowest(score, int(score.shape[1] * sparsity)), 0))
    return model


def input_norms(block: Block) -> dict[str, Float[Tensor, " in_features"]]:
    """The l2 norm of every input feature of each linear layer of a block, over all calibration tokens, in float32."""
    squares: dict[str, Tensor] = {}

    def add(name: str, inputs: Float[Tensor, "token in_features"]) -> None:
        batch = inputs.float().square().sum(dim=0)
        squares[name] = squares[name] + batch if name in squares else batch

    block.observe(add)
    return {name: total.sqrt() for name, total in squares.items()}


def lowest(score: Float[Tensor, "row column"], count: int) -> Bool[Tensor, "row column"]:
    """The mask of exactly `count` smallest scores in each row; of equal ones the first, as in a stable sort."""
    if count == 0:
        return torch.zeros_like(score, dtype=torch.bool)
    threshold = score.kthvalue(count, dim=1, keepdim=True).values
    below = score < threshold
    ties = score == threshold
    wanted = count - below.sum(dim=1, keepdim=True)
    return below | (ties & (ties.cumsum(dim=1) <= wanted))


def _promise(params: dict[str, Any]) -> Promise:
    return Promise(sparsity=params["sparsity"], sparsity_at_most=params["sparsity"])


MAGNITUDE = Method(
    name="magnitude",
    function=magnitude,
    tier="simulated",
    needs_calibration=False,
    summary="zeroes the smallest weights of each matrix (or row)",
    source="baseline of arXiv 2306.11695",
    promise=_promise,
)
WANDA = Method(
    name="wanda",
    function=wanda,
    tier="simulated",
    needs_calibration=True,
    summary="zeroes, in each output row, the weights of smallest magnitude times input norm",
    source="https://arxiv.org/abs/2306.11695",
    promise=_promise,
)
