"""Unstructured and N:M pruning without compensation: smallest magnitudes, and Wanda.

Both set weights of the blocks' linear layers to zero and leave the others as they are. Scores are ranked in float32.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedModel

from ...calibration import Calibration
from ...errors import RegistryError
from ..linear import LinearLayer, linear_layers
from ..method import Method
from ..promise import Promise, Zeros, count_of
from .allocation import Allocation, block_sparsities, owl_needs_calibration, zeros_with
from .masks import Sparsity, lowest, lowest_in_groups, parse_pattern
from .statistics import input_norms

Scope = Literal["matrix", "row", "model"]
_ALPHAS = (0.0, 0.8)
_TOLERANCE = 0.001


def magnitude(
    model: PreTrainedModel,
    calibration: Calibration | None,
    *,
    sparsity: Sparsity,
    scope: Scope = "matrix",
    allocation: Allocation = "uniform",
) -> PreTrainedModel:
    """Zero the weights of smallest magnitude, a share of each matrix, row or of the model.

    Args:
        scope: the weights that compete with each other: those of a `matrix` (the usual baseline, as in
            github.com/locuslab/wanda), of a `row` (one output feature), or of the whole `model`. An N:M pattern is
            local to its group whatever the scope.
        allocation: how the share is divided among blocks; `owl` reads calibration text.
    """
    if scope == "model" and parse_pattern(sparsity) is None:
        return _magnitude_of_model(model, float(sparsity))  # type: ignore[arg-type]  # `_magnitude_promise` sees to it
    sparsities = block_sparsities(model, calibration, sparsity, allocation)
    for layer, chosen in _with_sparsity(model, sparsities):
        score = layer.weight.float().abs()
        groups = score.reshape(1, -1) if scope == "matrix" else score
        _zero(layer, lowest_scores(score, groups, chosen))
    return model


def wanda(
    model: PreTrainedModel,
    calibration: Calibration,
    *,
    sparsity: Sparsity,
    allocation: Allocation = "uniform",
    variant: bool = False,
) -> PreTrainedModel:
    """Zero the weights of smallest `|W_ij| * |X_j|_2`, exactly `floor(in_features * sparsity)` in each output row.

    `|X_j|_2` is the norm of input feature j over all calibration tokens. All layers of a block are scored on the block
    as it is before it is changed.
    Source: Sun et al. 2023, "A Simple and Effective Pruning Approach for Large Language Models", arXiv 2306.11695;
    masks as github.com/locuslab/wanda (its division by the number of sequences does not change the ranking).

    Args:
        allocation: how the share is divided among blocks; `owl`: by their outliers.
        variant: the paper's appendix: of each row, the weights that together make up a share alpha of the row's scores
            are zeroed, so that rows differ; alpha is searched until the matrix has the sparsity.
    """
    sparsities = block_sparsities(model, calibration, sparsity, allocation)
    for block in calibration.blocks(model):
        norms = input_norms(block)
        for layer in block.layers:
            score = layer.weight.float().abs() * norms[layer.name]
            chosen = sparsities[block.index]
            if variant and isinstance(chosen, float):
                _zero(layer, _lowest_by_sum(score, chosen))
            else:
                _zero(layer, lowest_scores(score, score, chosen))
    return model


def lowest_scores(
    score: Float[Tensor, "out in"], groups: Float[Tensor, "group weight"], sparsity: float | tuple[int, int]
) -> Bool[Tensor, "out in"]:
    """The mask of the lowest scores: a share of each row of `groups`, or an N:M pattern along the inputs.

    Args:
        groups: the same scores, arranged so that those in a row compete with each other.
    """
    if isinstance(sparsity, tuple):
        return lowest_in_groups(score, sparsity)
    return lowest(groups, count_of(sparsity, groups.shape[1])).view_as(score)


def _lowest_by_sum(score: Float[Tensor, "out in"], sparsity: float) -> Bool[Tensor, "out in"]:
    """Of each row, the smallest scores whose sum is at most alpha of the row's; alpha by bisection.

    The search is that of github.com/locuslab/wanda (`--use_variant`): alpha starts at 0.4 between 0 and 0.8 and ends
    when the sparsity is met to 0.001, or alpha is known to 0.001.
    """
    ordered = score.sort(dim=1, stable=True)
    sums, rank = ordered.values.cumsum(dim=1), ordered.indices.argsort(dim=1)
    low, high = _ALPHAS
    alpha = (low + high) / 2
    while True:
        counts = (sums <= alpha * sums[:, -1:]).sum(dim=1, keepdim=True)
        found = counts.sum().item() / score.numel()
        if abs(found - sparsity) <= _TOLERANCE or high - low < _TOLERANCE:
            return rank < counts
        low, high = (low, alpha) if found > sparsity else (alpha, high)
        alpha = (low + high) / 2


def _magnitude_of_model(model: PreTrainedModel, sparsity: float) -> PreTrainedModel:
    """Zero the smallest weights of all matrices together, exactly `floor(n * sparsity)`; of equal ones the first.

    The threshold is found digit by digit: magnitudes are ordered as the integers that their bits spell, so two counts
    of 2^16 bins give it exactly, with no copy of the model's weights.
    """
    layers = linear_layers(model)
    wanted = count_of(sparsity, sum(layer.weight.numel() for layer in layers))
    high, before = _bin_of(sum(torch.bincount(_bits(layer) >> 16, minlength=2**16) for layer in layers), wanted)
    within = (_bits(layer)[_bits(layer) >> 16 == high] & 0xFFFF for layer in layers)
    low, below = _bin_of(sum(torch.bincount(part, minlength=2**16) for part in within), wanted - before)
    threshold, ties_wanted = (high << 16) | low, wanted - before - below
    for layer in layers:
        bits = _bits(layer).view(layer.shape)
        ties = (bits == threshold) & ((bits == threshold).flatten().cumsum(0).view(layer.shape) <= ties_wanted)
        ties_wanted -= int(ties.sum())
        _zero(layer, (bits < threshold) | ties)
    return model


def _bits(layer: LinearLayer) -> Tensor:
    """Magnitudes as integers of the same order."""
    return layer.weight.float().abs().contiguous().view(torch.int32).flatten()


def _bin_of(counts: Tensor | int, wanted: int) -> tuple[int, int]:
    """The bin that holds the `wanted`-th smallest entry, and how many entries lie in the bins before it."""
    total = torch.as_tensor(counts).cumsum(0)
    index = int(torch.searchsorted(total, max(wanted, 1)))
    return index, int(total[index - 1]) if index > 0 else 0


def _with_sparsity(
    model: PreTrainedModel, sparsities: list[float | tuple[int, int]]
) -> list[tuple[LinearLayer, float | tuple[int, int]]]:
    layers = linear_layers(model)
    each = len(layers) // len(sparsities)
    return [(layer, sparsities[index // each]) for index, layer in enumerate(layers)]


def _zero(layer: LinearLayer, zeroed: Bool[Tensor, "out in"]) -> None:
    layer.set_weight(layer.weight.masked_fill(zeroed, 0))


def _magnitude_promise(params: dict[str, Any]) -> Promise:
    zeros = zeros_with(params)
    if params["scope"] != "model" or zeros.pattern is not None:
        return Promise(zeros=(zeros,))
    if not isinstance(params["sparsity"], float) or params["allocation"] != "uniform":
        raise RegistryError(
            "With scope 'model' all weights compete, so the share is one number and blocks get what they get: leave "
            "out `allocation` and give `sparsity` as a share."
        )
    return Promise(zeros=(Zeros(zeros.share, of="model"),))


def _wanda_promise(params: dict[str, Any]) -> Promise:
    zeros = zeros_with(params)
    if params["variant"] and zeros.pattern is not None:
        raise RegistryError("Wanda's variant lets rows differ, and an N:M pattern does not. Give one of the two.")
    # The variant's search ends before a matrix has just the share it is asked for.
    return Promise(zeros=(Zeros(zeros.share, of="model") if params["variant"] else zeros,))


MAGNITUDE = Method(
    name="magnitude",
    function=magnitude,
    tier="simulated",
    needs_calibration=owl_needs_calibration,
    summary="zeroes the smallest weights of each matrix, row or the model; N:M",
    source="baseline of arXiv 2306.11695",
    promise=_magnitude_promise,
)
WANDA = Method(
    name="wanda",
    function=wanda,
    tier="simulated",
    needs_calibration=True,
    summary="zeroes, in each output row, the weights of smallest magnitude times input norm; N:M",
    source="https://arxiv.org/abs/2306.11695",
    promise=_wanda_promise,
)
