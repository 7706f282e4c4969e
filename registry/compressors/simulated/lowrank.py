"""Low rank: each matrix by the product of two thin ones, held as the dense product.

The rank k is the largest whose factors `[out, k]` and `[k, in]` hold at most a share of the matrix's weights.

- `svd`: the first k singular triples, which minimise `|W - W'|` (Eckart and Young 1936).
- `svd-whitened`: the best for the layer's inputs, which minimises `|W X - W' X|`. With `G = X X^T` that is `W' = P W`,
  P the projection on the k leading eigenvectors of `W G W^T`: the same matrix as the SVD of `W S` with `S S^T = G`, cut
  to rank k and times `S^-1`, as in Wang et al. 2024, SVD-LLM, arXiv 2403.07378, and needs no inverse of G, which is
  often singular. Block by block, inputs from the blocks as they are.

Computed in float64.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from ...calibration import Calibration
from ..linear import LinearLayer, linear_layers
from ..method import Method
from ..promise import Promise, rank_of
from .statistics import gram_matrices

Keep = Annotated[float, Field(gt=0, lt=1, description="share of the weights that the two factors hold")]


def svd(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
    *,
    keep: Keep,
) -> PreTrainedModel:
    """Cut every matrix to the rank that holds a share of its weights."""
    for layer in linear_layers(model):
        left, _, _ = torch.linalg.svd(layer.weight.double(), full_matrices=False)
        _project(layer, left[:, : rank_of(keep, layer.shape)])
    return model


def svd_whitened(model: PreTrainedModel, calibration: Calibration, *, keep: Keep) -> PreTrainedModel:
    """Cut every matrix to the rank that holds a share of its weights, with the least error on its inputs."""
    for block in calibration.blocks(model):
        grams = gram_matrices(block)
        for layer in block.layers:
            weight = layer.weight.double()
            # Eigenvalues ascend, so the leading vectors are the last.
            _, vectors = torch.linalg.eigh(weight @ grams[layer.name].double() @ weight.T)
            _project(layer, vectors[:, -rank_of(keep, layer.shape) :])
    return model


def _project(layer: LinearLayer, basis: Float[Tensor, "out rank"]) -> None:
    projected = basis @ (basis.T @ layer.weight.double())
    layer.set_weight(projected.to(layer.weight.dtype))


def _promise(params: dict[str, Any]) -> Promise:
    return Promise(rank_share=params["keep"])


SVD = Method(
    name="svd",
    function=svd,
    tier="simulated",
    needs_calibration=False,
    summary="low rank by singular value decomposition",
    source="https://doi.org/10.1007/BF02288367",
    promise=_promise,
)
SVD_WHITENED = Method(
    name="svd-whitened",
    function=svd_whitened,
    tier="simulated",
    needs_calibration=True,
    summary="low rank with the least error on the layer's inputs",
    source="https://arxiv.org/abs/2403.07378",
    promise=_promise,
)
