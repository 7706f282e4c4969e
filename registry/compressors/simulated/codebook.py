"""Code books of 4 bits: NF4 and FP4, block by block of the flattened matrix, held as dense tensors.

A weight becomes the nearest level of the code times the largest magnitude of its block. Both codes hold zero. Levels
and blocks are those of bitsandbytes (Dettmers et al. 2023, QLoRA, arXiv 2305.14314; blocks of 64 weights of `[out, in]`
laid end to end), whose kernels do the same on their own storage (`bnb-nf4`, `bnb-fp4`); a simulated state is no
substitute for those, and runs on every device and every width.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from ...calibration import Calibration
from ..linear import linear_layers
from ..method import Method
from ..promise import Promise

_FP4_HALF = (0.0, 0.0625, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
CODES = {
    # QLoRA, appendix E: quantiles of a normal distribution, with zero among them.
    "nf4": (
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ),
    # A sign, two bits of exponent and one of mantissa, as bitsandbytes spaces them.
    "fp4": tuple(sorted({sign * level / 12 for level in _FP4_HALF for sign in (-1, 1)})),
}
_SCALE_BITS = 32


def codebook(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
    *,
    code: Literal["nf4", "fp4"],
    block_size: Annotated[int, Field(ge=2)] = 64,
) -> PreTrainedModel:
    """Round every weight of the blocks' linear layers to the nearest level of a code.

    Args:
        block_size: weights that share a scale, along the rows of the flattened matrix.
    """
    for layer in linear_layers(model):
        levels = torch.tensor(CODES[code], device=layer.weight.device)
        layer.set_weight(nearest(layer.weight, levels, block_size).to(layer.weight.dtype))
    return model


def nearest(
    weight: Float[Tensor, "out in"], levels: Float[Tensor, " level"], block_size: int
) -> Float[Tensor, "out in"]:
    """The nearest levels, in float32; `levels` ascend from -1 to 1. A last block may be shorter."""
    flat = weight.float().reshape(-1)
    blocks = torch.nn.functional.pad(flat, (0, -flat.numel() % block_size)).view(-1, block_size)
    scale = blocks.abs().amax(dim=1, keepdim=True)
    relative = blocks / torch.where(scale == 0, torch.ones_like(scale), scale)
    between = (levels[1:] + levels[:-1]) / 2
    rounded = levels[torch.bucketize(relative, between)] * scale
    return rounded.view(-1)[: flat.numel()].view(weight.shape)


def _promise(params: dict[str, Any]) -> Promise:
    return Promise(bits=4, group_size=params["block_size"], overhead_bits=_SCALE_BITS, adds_zeros=True)


CODEBOOK = Method(
    name="codebook",
    function=codebook,
    tier="simulated",
    needs_calibration=False,
    summary="rounds weights to the levels of NF4 or FP4, a scale for each 64 weights",
    source="https://arxiv.org/abs/2305.14314",
    promise=_promise,
)
