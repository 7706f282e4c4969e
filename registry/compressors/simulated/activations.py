"""Rounded activations beside rounded weights (W8A8 and its kin), as a state of its own.

Weights are rounded to nearest with a scale for each output row. What enters a linear layer is rounded at every call,
symmetric and token by token: `s = max|x| / (2^(bits-1) - 1)`, `x' = s clamp(round(x / s))`, in float32; the scale is
that of the token at hand ("dynamic"), so that no result depends on the batch. Source: the per-token, per-channel
setting of Xiao et al. 2023, SmoothQuant, arXiv 2211.10438 (without its smoothing), and of ZeroQuant, arXiv 2206.01861.

Sites are read before the rounding: an SAE at `attn_z` sees what the output projection is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...calibration import Calibration
from ..linear import linear_layers
from ..method import Method
from ..promise import Promise
from .grid import Bits, Grid, grid_promise
from .rounding import rtn


def rounded_activations(
    model: PreTrainedModel, calibration: Calibration | None, *, bits: Bits, activation_bits: Bits
) -> PreTrainedModel:
    """Round the weights of the blocks' linear layers to `bits`, and their inputs to `activation_bits`."""
    rtn(model, calibration, bits=bits)
    for layer in linear_layers(model):
        layer.module.register_forward_pre_hook(_rounding_inputs(activation_bits))
    return model


def round_tokens(inputs: Float[Tensor, "*token feature"], bits: int) -> Float[Tensor, "*token feature"]:
    """Every token on the symmetric grid that just spans it, in the dtype it came in."""
    tokens = inputs.reshape(-1, inputs.shape[-1]).float()
    return Grid.fit(tokens, bits, symmetric=True).snap(tokens).view(inputs.shape).to(inputs.dtype)


def _rounding_inputs(bits: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    @torch.no_grad()
    def hook(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (round_tokens(args[0], bits), *args[1:])

    return hook


def _promise(params: dict[str, Any]) -> Promise:
    return grid_promise(params["bits"], None, symmetric=True)


ROUNDED_ACTIVATIONS = Method(
    name="rounded-activations",
    function=rounded_activations,
    tier="simulated",
    needs_calibration=False,
    summary="rounds weights by row, and the inputs of every linear layer token by token",
    source="https://arxiv.org/abs/2211.10438",
    promise=_promise,
)
