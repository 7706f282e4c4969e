"""AWQ: scale up the inputs that matter before rounding, and down again after it.

Lin et al. 2023, "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration", arXiv 2306.00978,
with the search of github.com/mit-han-lab/llm-awq. With a scale s for each input feature, and Q rounding to the grids of
`grid.py`, the weights become `Q(W diag(s)) diag(s)^-1`:

    s = mean|X|^alpha / sqrt(max * min of it),  alpha in 0, 1/20, ..., 19/20, the one of least |W X - W' X|^2

and then, where `clip` is set and the layer makes no queries or keys, the range of each group is narrowed to the share
1, 0.95, ..., 0.55 of its largest magnitude that has the least error of the group's part of the output. Alpha 0 is plain
rounding, so the error of a layer is never above that of round-to-nearest.

Deployed AWQ folds `1/s` into the layer before, which moves activations into other coordinates; here it stays with the
weights, so that every site keeps its meaning, every family works, and each layer has a scale of its own. It is kept at
the module as `input_scale`, since levels and sizes are those of `W' diag(s)`. Errors are exact over all calibration
tokens, by their Gram matrix, where the published code takes samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from ...calibration import Calibration
from ..linear import LinearLayer, linear_layers, refuse_odd_groups
from ..method import Method
from ..promise import Promise
from .grid import Bits, Grid, GroupSize, grid_promise
from .statistics import gram_matrices, input_magnitudes

_ALPHAS = tuple(step / 20 for step in range(20))
_RANGES = tuple(1 - step / 20 for step in range(10))
_LEAST_SCALE = 1e-4
# Queries and keys meet in a product, where the error of one alone says little: the published code leaves them
# unclipped.
_UNCLIPPED = ("q_proj", "k_proj", "c_attn", "query_key_value")


def awq(
    model: PreTrainedModel,
    calibration: Calibration,
    *,
    bits: Bits,
    group_size: GroupSize = None,
    symmetric: bool = False,
    clip: bool = True,
) -> PreTrainedModel:
    """Round with scaled inputs, block by block of the model.

    Args:
        group_size: number of consecutive inputs that share a scale; None for a whole row.
        clip: whether ranges are narrowed where that makes the error smaller.

    Raises:
        Impossible: a group size that does not divide the number of inputs of some layer; nothing is changed then.
    """
    refuse_odd_groups(linear_layers(model), group_size)
    for block in calibration.blocks(model):
        grams, magnitudes = gram_matrices(block), input_magnitudes(block)
        for layer in block.layers:
            search = _Search(layer.weight.float(), grams[layer.name], group_size or layer.shape[1], bits, symmetric)
            scale = search.best_scale(magnitudes[layer.name] / calibration.n_tokens)
            clipped = clip and not layer.name.endswith(_UNCLIPPED)
            _write(layer, search.rounded(scale, search.best_ranges(scale) if clipped else None), scale)
    return model


class _Search:
    """What is tried on one matrix."""

    def __init__(
        self, weight: Float[Tensor, "out in"], gram: Float[Tensor, "in in"], group_size: int, bits: int, symmetric: bool
    ) -> None:
        self._weight, self._gram = weight, gram
        self._group_size, self._bits, self._symmetric = group_size, bits, symmetric

    def rounded(self, scale: Float[Tensor, " in"], ranges: Float[Tensor, "group 1"] | None) -> Float[Tensor, "out in"]:
        """`Q(W diag(s)) diag(s)^-1`, each group clamped to its range before rounding."""
        groups = (self._weight * scale).reshape(-1, self._group_size)
        return self._snapped(groups, ranges).view_as(self._weight) / scale

    def best_scale(self, mean_magnitude: Float[Tensor, " in"]) -> Float[Tensor, " in"]:
        """The scale of least output error."""
        scales = [_normalised(mean_magnitude.pow(alpha).clamp(min=_LEAST_SCALE)) for alpha in _ALPHAS]
        return min(scales, key=self._error_with)

    def best_ranges(self, scale: Float[Tensor, " in"]) -> Float[Tensor, "group 1"]:
        """For each row and group, the range of least error in what the group adds to the output."""
        groups = (self._weight * scale).reshape(-1, self._group_size)
        largest = groups.abs().amax(dim=1, keepdim=True)
        error_of = self._group_errors(scale)
        best, least = largest, error_of(self._snapped(groups, largest) - groups)
        for share in _RANGES[1:]:
            errors = error_of(self._snapped(groups, share * largest) - groups)
            better = errors < least
            best, least = torch.where(better, share * largest, best), torch.where(better, errors, least)
        return best

    def _snapped(
        self, groups: Float[Tensor, "group weight"], ranges: Float[Tensor, "group 1"] | None
    ) -> Float[Tensor, "group weight"]:
        clamped = groups if ranges is None else torch.maximum(torch.minimum(groups, ranges), -ranges)
        return Grid.fit(clamped, self._bits, self._symmetric).snap(clamped)

    def _error_with(self, scale: Float[Tensor, " in"]) -> float:
        difference = self.rounded(scale, None) - self._weight
        return ((difference @ self._gram) * difference).sum(dtype=torch.float64).item()

    def _group_errors(
        self, scale: Float[Tensor, " in"]
    ) -> Callable[[Float[Tensor, "group weight"]], Float[Tensor, "group 1"]]:
        size = self._group_size
        n_groups = len(scale) // size
        # The scaled inputs' Gram matrix, of which only the parts within a group are needed.
        gram = self._gram / scale[:, None] / scale[None, :]
        parts = gram.view(n_groups, size, n_groups, size).diagonal(dim1=0, dim2=2).permute(2, 0, 1)

        def of(difference: Float[Tensor, "group weight"]) -> Float[Tensor, "group 1"]:
            rows = difference.view(-1, n_groups, size).transpose(0, 1)
            return ((rows @ parts) * rows).sum(dim=2).T.reshape(-1, 1)

        return of


def _normalised(scale: Float[Tensor, " in"]) -> Float[Tensor, " in"]:
    return scale / (scale.max() * scale.min()).sqrt()


def _write(layer: LinearLayer, rounded: Float[Tensor, "out in"], scale: Float[Tensor, " in"]) -> None:
    layer.set_weight(rounded.to(layer.weight.dtype))
    layer.module.register_buffer("input_scale", scale, persistent=False)


def _promise(params: dict[str, Any]) -> Promise:
    return grid_promise(params["bits"], params["group_size"], params["symmetric"], scaled_inputs=True)


AWQ = Method(
    name="awq",
    function=awq,
    tier="simulated",
    needs_calibration=True,
    summary="scales inputs by their size before rounding, and back; searches scale and range",
    source="https://arxiv.org/abs/2306.00978",
    promise=_promise,
)
