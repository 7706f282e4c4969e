"""HQQ: round without data, and move the zero points to where the error has few large entries.

Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models" (mobiusml.github.io/hqq_blog), as
`optimize_weights_proximal_legacy` of the library hqq 0.2.8 solves it, its default. A group w of consecutive inputs is
rounded to `(q - z) / s` with q in 0 ... 2^bits - 1, `s = (2^bits - 1) / (max w - min w)`, and z, which is no whole
number, starting at `-s min w` (rounded at 4 bits, as the library's configuration has it). Up to 20 times, until the
mean of |w - w'| over the whole matrix no longer falls:

    q  = clamp(round(s w + z))                w' = (q - z) / s
    e  = sign(w - w') max(|w - w'| - |w - w'|^(p-1) / beta, 0)           p = 0.7, beta = 10
    z  = mean over the group of q - s (w - e)

Zero is no level then. In a matrix that holds zeros (pruned before), the zero points found are rounded, so that zeros
stay.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from ...calibration import Calibration
from ..linear import linear_layers, refuse_odd_groups
from ..method import Method
from ..promise import Promise
from .grid import SCALE_BITS, Bits

_NORM = 0.7
_BETA = 10.0
_MOST_STEPS = 20
_ROUNDED_START_BITS = 4
_FLAT = 1e-4
_LARGEST_SCALE = 2e4


def hqq(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
    *,
    bits: Bits,
    group_size: Annotated[int, Field(ge=2)] | None = 64,
) -> PreTrainedModel:
    """Round every weight of the blocks' linear layers, with zero points found by the proximal solver.

    Args:
        group_size: number of consecutive inputs that share a scale and a zero point; None for a whole row.

    Raises:
        Impossible: a group size that does not divide the number of inputs of some layer; nothing is changed then.
    """
    layers = linear_layers(model)
    refuse_odd_groups(layers, group_size)
    for layer in layers:
        weight = layer.weight
        groups = weight.float().reshape(-1, group_size or weight.shape[1])
        pruned = bool((weight == 0).any())
        layer.set_weight(round_half_quadratic(groups, bits, keep_zeros=pruned).view(weight.shape))
    return model


def round_half_quadratic(
    groups: Float[Tensor, "group weight"], bits: int, *, keep_zeros: bool = False
) -> Float[Tensor, "group weight"]:
    """Each row on its own levels, in float32."""
    top = 2**bits - 1
    low, high = groups.amin(dim=1, keepdim=True), groups.amax(dim=1, keepdim=True)
    span = high - low
    scale = torch.where(span <= _FLAT, torch.ones_like(span), top / span.clamp(min=_FLAT)).clamp(max=_LARGEST_SCALE)
    start = -low * scale
    zero = _solved(groups, scale, start.round() if bits == _ROUNDED_START_BITS else start, top)
    if keep_zeros:
        zero = zero.round().clamp(0, top)
    return (_steps(groups, scale, zero, top) - zero) / scale


def _solved(
    groups: Float[Tensor, "group weight"], scale: Float[Tensor, "group 1"], zero: Float[Tensor, "group 1"], top: int
) -> Float[Tensor, "group 1"]:
    least = float("inf")
    for _ in range(_MOST_STEPS):
        steps = _steps(groups, scale, zero, top)
        error = groups - (steps - zero) / scale
        size = error.abs()
        shrunk = error.sign() * (size - size.pow(_NORM - 1) / _BETA).clamp(min=0)
        zero = (steps - (groups - shrunk) * scale).mean(dim=1, keepdim=True)
        now = size.mean().item()
        if now >= least:
            break
        least = now
    return zero


def _steps(
    groups: Float[Tensor, "group weight"], scale: Float[Tensor, "group 1"], zero: Float[Tensor, "group 1"], top: int
) -> Float[Tensor, "group weight"]:
    return (groups * scale + zero).round().clamp(0, top)


def _promise(params: dict[str, Any]) -> Promise:
    # Scale and zero point are both 16 bits: the zero point is no whole number.
    return Promise(bits=params["bits"], group_size=params["group_size"], overhead_bits=2 * SCALE_BITS, adds_zeros=True)


HQQ = Method(
    name="hqq",
    function=hqq,
    tier="simulated",
    needs_calibration=False,
    summary="rounds without data, with zero points that leave few large errors",
    source="https://mobiusml.github.io/hqq_blog/",
    promise=_promise,
)
