"""GPTQ: round column by column, and let the columns not yet rounded make good what is lost.

Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", arXiv
2210.17323, on the grids of `grid.py`, so that it differs from round-to-nearest in the compensation alone. A group's
grid is fitted when its first column is reached, to the weights as they are then. With `act_order` columns are taken by
falling `H_jj`; grids are then fitted beforehand to consecutive columns of the dense matrix ("static groups"), so that
what is stored needs no table of groups.

Weights that are zero (pruned before) stay zero: they are settled as zeros, and others make good for them.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from ...calibration import Calibration
from ..linear import linear_layers, refuse_odd_groups
from ..method import Method
from ..promise import Promise
from .grid import Bits, Grid, GroupSize, grid_promise
from .obs import BLOCK_COLUMNS, inverse_factor, settle, without_dead_inputs
from .sparsegpt import Damping, warn_of_few_tokens
from .statistics import gram_matrices


def gptq(
    model: PreTrainedModel,
    calibration: Calibration,
    *,
    bits: Bits,
    group_size: GroupSize = None,
    symmetric: bool = True,
    act_order: bool = False,
    damping: Damping = 0.01,
) -> PreTrainedModel:
    """Round with compensation, block by block of the model.

    Args:
        group_size: number of consecutive inputs that share a scale; None for a whole row.
        act_order: whether columns of larger inputs are rounded first.

    Raises:
        Impossible: a group size that does not divide the number of inputs of some layer; nothing is changed then.
    """
    refuse_odd_groups(linear_layers(model), group_size)
    for block in calibration.blocks(model):
        grams = gram_matrices(block)
        for layer in block.layers:
            warn_of_few_tokens(calibration, layer.shape[1])
            weight, gram = without_dead_inputs(layer.weight, grams[layer.name])
            rounder = _Rounder(weight, group_size or layer.shape[1], bits, symmetric)
            name = f"block {block.index}, {layer.name}"
            if act_order:
                rounded = rounder.by_size_of_inputs(gram, damping, name)
            else:
                rounded = rounder.in_order(inverse_factor(gram, damping, name))
            layer.set_weight(rounded.to(layer.weight.dtype))
    return model


class _Rounder:
    """Rounds one matrix."""

    def __init__(self, weight: Float[Tensor, "out in"], group_size: int, bits: int, symmetric: bool) -> None:
        self._weight = weight.float()
        self._zero = weight.T == 0
        self._group_size = group_size
        self._bits = bits
        self._symmetric = symmetric

    def in_order(self, factor: Float[Tensor, "in in"]) -> Float[Tensor, "out in"]:
        """From the first column to the last."""
        size = self._group_size
        if size == self._weight.shape[1]:
            # One grid a row: that of the dense weights, whatever the blocks.
            whole = Grid.fit(self._weight, self._bits, self._symmetric)
            return settle(self._weight, factor, lambda index, ahead: self._snap(whole, index, ahead[0]))
        grid = Grid.fit(self._weight[:, :size], self._bits, self._symmetric)

        def rule(index: int, ahead: Float[Tensor, "column out"]) -> Float[Tensor, " out"]:
            nonlocal grid
            if index % size == 0:
                grid = Grid.fit(ahead[:size].T, self._bits, self._symmetric)
            return self._snap(grid, index, ahead[0])

        # A block holds whole groups, so that a group is seen with all that came before it made good.
        return settle(self._weight, factor, rule, size * max(1, BLOCK_COLUMNS // size))

    def by_size_of_inputs(self, gram: Float[Tensor, "in in"], damping: float, name: str) -> Float[Tensor, "out in"]:
        """From the column of the largest inputs to that of the smallest, on grids fitted beforehand."""
        order = gram.diagonal().argsort(descending=True, stable=True)
        n_groups = self._weight.shape[1] // self._group_size
        groups = self._weight.reshape(-1, self._group_size)
        every = Grid.fit(groups, self._bits, self._symmetric)
        rows = torch.arange(self._weight.shape[0], device=gram.device) * n_groups
        grids = [every[rows + group] for group in range(n_groups)]

        def rule(index: int, ahead: Float[Tensor, "column out"]) -> Float[Tensor, " out"]:
            column = int(order[index])
            return self._snap(grids[column // self._group_size], column, ahead[0])

        factor = inverse_factor(gram[order][:, order], damping, name)
        settled = settle(self._weight[:, order], factor, rule)
        return settled[:, order.argsort()]

    def _snap(self, grid: Grid, column: int, values: Float[Tensor, " out"]) -> Float[Tensor, " out"]:
        return grid.snap(values[:, None])[:, 0].masked_fill(self._zero[column], 0)


def _promise(params: dict[str, Any]) -> Promise:
    return grid_promise(params["bits"], params["group_size"], params["symmetric"])


GPTQ = Method(
    name="gptq",
    function=gptq,
    tier="simulated",
    needs_calibration=True,
    summary="rounds column by column, the columns to come make good what is lost",
    source="https://arxiv.org/abs/2210.17323",
    promise=_promise,
)
