"""torchao on a live model: weights alone rounded, in the library's tensors, activations left as they are.

The weight of every linear layer of the blocks becomes a tensor of torchao's; embeddings, unembedding and norms stay.
The library's own choice of layers is never used: it would take the unembedding, untie it, and find nothing in the
blocks of GPT-2, whose transposed weights are turned first. What each method stores, and what it multiplies with:

- `torchao-int8`: `q = clamp(round(w / s), -128, 127)`, `s = max|w| / 127.5` for each row or group, in float32; beside
  it a zero point of 8 bits that is always 0. With a scale a row, activations are multiplied with q and the product
  with s; with groups, s q is formed first.
- `torchao-intx`: 2 to 8 bits for each row or group. Symmetric: `s = max|w| / (2^bits - 1) * 2`,
  `q = clamp(round(w / s), -2^(bits-1), 2^(bits-1) - 1)`; asymmetric: `s = (max(w, 0) - min(w, 0)) / (2^bits - 1)` with
  an integer zero point z and `w' = s (q - z)`. s is computed and stored in the model's dtype, z in 8 bits. Every q
  takes 8 bits, however few it needs: the size in use is that of int8, the smaller one is what a packed format takes.
- `torchao-float8`: `q = float8_e4m3fn(w / s)`, `s = max|w| / 448` for each row, in float32; s q is formed in the
  model's dtype and multiplied with.
- `torchao-int4`: 16 levels `s (q - 8) + z` for each group, s and z in bfloat16, in the packed format of the "tinygemm"
  kernel, which torchao documents for CUDA (its default, `plain`, needs the library mslk). Inputs are padded to a
  multiple of 1024.

Zero is a level of the first three, so pruned weights stay zero; of the last it is none.
Source: Or et al. 2025, TorchAO, arXiv 2507.16099; formulae as the code of torchao 0.18 has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from transformers import PreTrainedModel

from ...calibration import Calibration
from ...errors import Impossible
from ..faults import SLACK
from ..levels import share_of_zeros
from ..linear import LinearLayer, refuse_odd_groups
from ..method import Method
from ..promise import Promise
from .layers import as_linear, dense_layers, missing_cuda, refuse_off_cuda
from .quiet import import_quietly

_INSTALL = "install it with `pip install 'torchao>=0.17'`"
_INT4_OVERHEAD_BITS = 32

GroupSize = Annotated[int, Field(ge=2)] | None


def torchao_int8(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
    *,
    group_size: GroupSize = None,
) -> PreTrainedModel:
    """Int8 weights in every linear layer of the blocks.

    Args:
        group_size: number of consecutive inputs that share a scale; None for a whole row.

    Raises:
        Impossible: a group size that does not divide the inputs of some layer; nothing is changed then.
    """
    refuse_odd_groups(dense_layers(model), group_size)
    api = _api()
    granularity = api.PerRow() if group_size is None else api.PerGroup(group_size)
    # Version 1 is the default of torchao 0.17 and another storage.
    config = api.Int8WeightOnlyConfig(granularity=granularity, version=2, set_inductor_config=False)
    return _quantise(model, config)


def torchao_intx(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
    *,
    bits: Annotated[int, Field(ge=2, le=8)],
    group_size: GroupSize = None,
    symmetric: bool = True,
) -> PreTrainedModel:
    """Weights of 2 to 8 bits in every linear layer of the blocks.

    Args:
        group_size: number of consecutive inputs that share a scale; None for a whole row.

    Raises:
        Impossible: a group size that does not divide the inputs of some layer; nothing is changed then.
    """
    refuse_odd_groups(dense_layers(model), group_size)
    api = _api()
    config = api.IntxWeightOnlyConfig(
        weight_dtype=getattr(torch, f"int{bits}"),
        granularity=api.PerAxis(0) if group_size is None else api.PerGroup(group_size),
        mapping_type=api.MappingType.SYMMETRIC if symmetric else api.MappingType.ASYMMETRIC,
    )
    return _quantise(model, config)


def torchao_float8(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
) -> PreTrainedModel:
    """Float8 (E4M3) weights in every linear layer of the blocks.

    Raises:
        Impossible: a row of zeros, of which the library makes NaN; nothing is changed then.
    """
    empty = [layer.name for layer in dense_layers(model) if not bool(layer.weight.any(dim=1).all())]
    if empty:
        # Measured with 0.18.0: the scale of such a row is 0, and 0 / 0 is stored.
        raise Impossible(
            f"torchao's float8 makes NaN of a row of zeros, and {len(empty)} layers have one, as {empty[0]}. "
            "Use `torchao-int8`."
        )
    return _quantise(model, _api().Float8WeightOnlyConfig(set_inductor_config=False))


def torchao_int4(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
    *,
    group_size: Literal[32, 64, 128, 256] = 128,
) -> PreTrainedModel:
    """Int4 weights for the tensor cores of a CUDA GPU in every linear layer of the blocks.

    Args:
        group_size: number of consecutive inputs that share a scale and a zero point.

    Raises:
        Impossible: no such GPU, a model that is not in bfloat16, a group size that does not divide the inputs of some
            layer, or pruned weights, whose zeros would be lost; nothing is changed then.
    """
    layers = dense_layers(model)
    refuse_off_cuda(layers, "torchao's int4", (torch.bfloat16,))
    refuse_odd_groups(layers, group_size)
    _refuse_pruned(layers)
    config = _api().Int4WeightOnlyConfig(
        group_size=group_size, int4_packing_format="tile_packed_to_4d", set_inductor_config=False
    )
    return _quantise(model, config)


def _refuse_pruned(layers: Sequence[LinearLayer]) -> None:
    for layer in layers:
        share = share_of_zeros(layer.weight)
        if share > SLACK:
            raise Impossible(
                f"{share:.0%} of {layer.name} are zeros, and torchao's int4 has no level at zero: what was pruned "
                "would come back. Use `torchao-intx` with `bits: 4`, which keeps zeros."
            )


def _quantise(model: PreTrainedModel, config: Any) -> PreTrainedModel:
    """Hand exactly the blocks' linear layers to the library.

    `config` never lets it set up torch.compile, which is a setting of the whole process.
    """
    chosen = {id(layer.module) for layer in as_linear(model)}
    _api().quantize_(model, config, filter_fn=lambda module, _name: id(module) in chosen)
    return model


def _api() -> ModuleType:
    # Without CUDA, some of its extensions do not load, which is said at length; so is a deprecation within torch.
    return import_quietly("torchao.quantization", ("torchao", "torch.utils._pytree"))


@cache
def missing_torchao() -> str | None:
    """Why torchao cannot be used here, with the remedy; None where it can."""
    try:
        _ = _api().IntxWeightOnlyConfig
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"torchao cannot be used ({error}); {_INSTALL}"
    return None


def _int8_promise(params: dict[str, Any]) -> Promise:
    return Promise(bits=8, group_size=params["group_size"], overhead_bits=None, adds_zeros=True)


def _intx_promise(params: dict[str, Any]) -> Promise:
    return Promise(bits=params["bits"], group_size=params["group_size"], overhead_bits=None, adds_zeros=True)


def _float8_promise(_params: dict[str, Any]) -> Promise:
    return Promise(bits=8, overhead_bits=None, adds_zeros=True)


def _int4_promise(params: dict[str, Any]) -> Promise:
    # What is stored of scales belongs to the padding too, hence not "as stored".
    return Promise(bits=4, group_size=params["group_size"], overhead_bits=_INT4_OVERHEAD_BITS, adds_zeros=True)


TORCHAO_INT8 = Method(
    name="torchao-int8",
    function=torchao_int8,
    tier="kernel",
    needs_calibration=False,
    summary="int8 weights of torchao, a scale for each row or group",
    source="https://arxiv.org/abs/2507.16099",
    promise=_int8_promise,
    missing=missing_torchao,
)
TORCHAO_INTX = Method(
    name="torchao-intx",
    function=torchao_intx,
    tier="kernel",
    needs_calibration=False,
    summary="weights of 2 to 8 bits of torchao, a scale for each row or group",
    source="https://arxiv.org/abs/2507.16099",
    promise=_intx_promise,
    missing=missing_torchao,
)
TORCHAO_FLOAT8 = Method(
    name="torchao-float8",
    function=torchao_float8,
    tier="kernel",
    needs_calibration=False,
    summary="float8 (E4M3) weights of torchao, a scale for each row",
    source="https://arxiv.org/abs/2209.05433",
    promise=_float8_promise,
    missing=missing_torchao,
)
TORCHAO_INT4 = Method(
    name="torchao-int4",
    function=torchao_int4,
    tier="kernel",
    needs_calibration=False,
    summary="int4 weights of torchao for tensor cores, a scale and zero point for each group; CUDA and bfloat16 only",
    source="https://arxiv.org/abs/2507.16099",
    promise=_int4_promise,
    missing=lambda: missing_torchao() or missing_cuda(),
)
