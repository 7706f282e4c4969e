"""Round-to-nearest (RTN): weights on a uniform grid of 2 to 8 bits, held as dense tensors.

With `q` an integer and `s` the scale of a row, or of a group of consecutive inputs of a row, a weight becomes `s * q`:

- symmetric: `s = max|w| / (2^(bits-1) - 1)`, `q = round(w / s)`: `2^bits - 1` levels around zero (three at 2 bits);
- asymmetric: `s = (max(w, 0) - min(w, 0)) / (2^bits - 1)`, `z = round(-min(w, 0) / s)`,
  `q = clamp(round(w / s) + z, 0, 2^bits - 1) - z`: all `2^bits` levels.

Either way zero is on the grid, so a pruned weight stays pruned, and no weight moves by more than half a step.
Computed in float32. Sizes count a scale as 16 bits, as deployed formats store it; it is not rounded to 16 bits here.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from ...calibration import Calibration
from ...errors import Impossible
from ..linear import linear_layers
from ..method import Method
from ..promise import Promise

SCALE_BITS = 16


def rtn(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
    *,
    bits: Annotated[int, Field(ge=2, le=8)],
    group_size: Annotated[int, Field(ge=2)] | None = None,
    symmetric: bool = True,
) -> PreTrainedModel:
    """Round every weight of the blocks' linear layers to the nearest level.

    Args:
        group_size: number of consecutive inputs that share a scale; None for a whole row.

    Raises:
        Impossible: a group size that does not divide the number of inputs of some layer; nothing is changed then.
    """
    layers = linear_layers(model)
    if group_size is not None:
        odd = [f"{layer.name} ({layer.shape[1]} inputs)" for layer in layers if layer.shape[1] % group_size]
        if odd:
            raise Impossible(f"Group size {group_size} does not divide the inputs of {len(odd)} layers, as {odd[0]}.")
    for layer in layers:
        weight = layer.weight
        groups = weight.float().reshape(-1, group_size or weight.shape[1])
        layer.set_weight(round_to_grid(groups, bits, symmetric).view(weight.shape))
    return model


def round_to_grid(groups: Float[Tensor, "group weight"], bits: int, symmetric: bool) -> Float[Tensor, "group weight"]:
    """Each row rounded to its own grid, in float32."""
    low, high = groups.amin(dim=1, keepdim=True).clamp(max=0), groups.amax(dim=1, keepdim=True).clamp(min=0)
    if symmetric:
        top = 2 ** (bits - 1) - 1
        scale = _or_one(torch.maximum(-low, high) / top)
        return scale * (groups / scale).round().clamp(-top, top)
    top = 2**bits - 1
    scale = _or_one((high - low) / top)
    zero_point = (-low / scale).round()
    return scale * (((groups / scale).round() + zero_point).clamp(0, top) - zero_point)


def _or_one(scale: Float[Tensor, "group 1"]) -> Float[Tensor, "group 1"]:
    """A group of zeros has no scale; any will do."""
    return torch.where(scale == 0, torch.ones_like(scale), scale)


def _promise(params: dict[str, Any]) -> Promise:
    zero_point_bits = 0 if params["symmetric"] else params["bits"]
    return Promise(
        bits=params["bits"],
        group_size=params["group_size"],
        overhead_bits=SCALE_BITS + zero_point_bits,
        adds_zeros=True,
    )


RTN = Method(
    name="rtn",
    function=rtn,
    tier="simulated",
    needs_calibration=False,
    summary="rounds weights to the nearest of 2^bits levels, a scale for each row or group",
    source="baseline of arXiv 2210.17323",
    promise=_promise,
)
