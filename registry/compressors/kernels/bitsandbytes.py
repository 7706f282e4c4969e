"""bitsandbytes on a live model: LLM.int8, NF4 and FP4, in the library's own storage.

The linear layers of the blocks are replaced by the library's modules; embeddings, unembedding and norms stay. GPT-2's
transposed weights are turned first. Activations enter and leave each module in the model's dtype. Works on CPU (AVX2
or better) and CUDA; speed is only gained on CUDA.

- `bnb-int8` is LLM.int8 (Dettmers et al. 2022, arXiv 2208.07339): weights are cast to float16 and rounded to int8 with
  a scale for each output row; *activations* are cast to float16 and rounded to int8 for each token, but input features
  in which some activation of the batch reaches 6.0 are multiplied in higher precision. It is not plain W8: its result
  depends on the other tokens of a batch through these outliers.
- `bnb-nf4` (Dettmers et al. 2023, arXiv 2305.14314): 4-bit levels that are quantiles of a normal distribution, with
  zero among them, a float32 scale for each 64 weights of the flattened matrix (no double quantisation). Only weights
  are rounded; the product is computed in the dtype of the activations.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, partial
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...calibration import Calibration
from ...errors import Impossible
from ..linear import LinearLayer, linear_layers
from ..method import Method
from ..promise import Promise
from .layers import dense_layers
from .quiet import import_quietly

INT8_OUTLIER_THRESHOLD = 6.0
"""The published one; transformers uses it too."""
BLOCK = 64
"""Weights that share a scale in either 4-bit storage."""
SCALE_BLOCK = 256
"""Scales that share one where these are quantised too."""
_INT8_LOGGER = "bitsandbytes.autograd._functions"


def bnb_int8(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
) -> PreTrainedModel:
    """LLM.int8 in every linear layer of the blocks."""
    return _swap(model, _int8)


def bnb_nf4(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
    *,
    double_quant: bool = False,
) -> PreTrainedModel:
    """NF4 in every linear layer of the blocks.

    Args:
        double_quant: whether scales are quantised too.

    Raises:
        Impossible: on a CPU, a layer whose number of inputs 64 does not divide; nothing is changed then.
    """
    return _swap_4bit(model, "nf4", double_quant)


def bnb_fp4(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
    *,
    double_quant: bool = False,
) -> PreTrainedModel:
    """FP4 in every linear layer of the blocks.

    Args:
        double_quant: whether scales are quantised too.

    Raises:
        Impossible: on a CPU, a layer whose number of inputs 64 does not divide; nothing is changed then.
    """
    return _swap_4bit(model, "fp4", double_quant)


def _swap_4bit(model: PreTrainedModel, kind: Literal["nf4", "fp4"], double_quant: bool) -> PreTrainedModel:
    odd = [layer for layer in dense_layers(model) if layer.shape[1] % BLOCK and layer.module.weight.is_cpu]
    if odd:
        # Measured with 0.50.2: relative weight errors of 0.4 where they should be 0.09, and no message.
        raise Impossible(
            f"On a CPU, bitsandbytes dequantises {kind.upper()} wrongly where {BLOCK} does not divide the inputs of a "
            f"layer: {odd[0].name} has {odd[0].shape[1]} ({len(odd)} such layers). Run this on CUDA, or use `rtn-4`."
        )
    return _swap(model, partial(_4bit, kind=kind, double_quant=double_quant))


def _swap(model: PreTrainedModel, quantised: Callable[[LinearLayer], nn.Module]) -> PreTrainedModel:
    for layer in dense_layers(model):
        module = quantised(layer).train(layer.module.training)
        module.bias = layer.module.bias
        model.set_submodule(layer.name, module)
    return model


def _int8(layer: LinearLayer) -> nn.Module:
    library, (out_features, in_features) = _bitsandbytes(), layer.shape
    module = library.nn.Linear8bitLt(
        in_features, out_features, has_fp16_weights=False, threshold=INT8_OUTLIER_THRESHOLD, device="meta"
    )
    # The library quantises when a parameter moves off the CPU or to it, hence the detour.
    parameter = library.nn.Int8Params(_rows(layer).cpu(), requires_grad=False, has_fp16_weights=False)
    module.weight = parameter.to(layer.module.weight.device)
    module.register_forward_pre_hook(_hush)
    module.register_forward_hook(_unhush, always_call=True)
    return module


def _4bit(layer: LinearLayer, kind: Literal["nf4", "fp4"], double_quant: bool) -> nn.Module:
    library, (out_features, in_features) = _bitsandbytes(), layer.shape
    module = library.nn.Linear4bit(
        in_features, out_features, quant_type=kind, compress_statistics=double_quant, device="meta"
    )
    # Where the CPU has AVX512-BF16 the library would repack the weight at the first forward pass, compute in bfloat16
    # and fail where 64 does not divide the inputs or 32 the outputs. Without, figures do not depend on the CPU's make.
    module.support_avx512bf16_for_cpu = False
    parameter = library.nn.Params4bit(
        _rows(layer),
        requires_grad=False,
        quant_type=kind,
        blocksize=BLOCK,
        compress_statistics=double_quant,
        module=module,
    )
    module.weight = parameter.to(layer.module.weight.device)
    return module


def settle(model: PreTrainedModel) -> None:
    """Make modules of the library that were loaded from elsewhere behave like those that are made here.

    Raises:
        Impossible: as `bnb_nf4` on a CPU.
    """
    for layer in linear_layers(model):
        if layer.storage == "int8":
            layer.module.register_forward_pre_hook(_hush)
            layer.module.register_forward_hook(_unhush, always_call=True)
        elif layer.storage == "4bit":
            layer.module.support_avx512bf16_for_cpu = False
            block = layer.module.weight.quant_state.blocksize
            if layer.shape[1] % block and layer.module.weight.is_cpu:
                raise Impossible(
                    f"On a CPU, bitsandbytes dequantises 4-bit weights wrongly where {block} does not divide the "
                    f"inputs of a layer: {layer.name} has {layer.shape[1]}. Run this on CUDA."
                )


def _rows(layer: LinearLayer) -> Tensor:
    """The weight as the library wants it: `[out, in]`, contiguous, its own memory."""
    return layer.weight.clone(memory_format=torch.contiguous_format)


class _CastNotice(logging.Filter):
    """Drops the library's line on the cast to float16, which it writes at every call of every layer."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "inputs will be cast" not in record.msg


_CAST_NOTICE = _CastNotice()


def _hush(*_: Any) -> None:
    logging.getLogger(_INT8_LOGGER).addFilter(_CAST_NOTICE)


def _unhush(*_: Any) -> None:
    logging.getLogger(_INT8_LOGGER).removeFilter(_CAST_NOTICE)


def _bitsandbytes() -> ModuleType:
    # It tells of deprecations within torch, and of a kernel hub that it does not reach.
    return import_quietly("bitsandbytes", ("bitsandbytes.backends.cpu.ops",))


@cache
def missing_bitsandbytes() -> str | None:
    """Why bitsandbytes cannot be used here, with the remedy; None where it can."""
    try:
        _bitsandbytes()
    except (ImportError, OSError, RuntimeError) as error:
        return f"bitsandbytes cannot be imported ({error}); install it with `pip install 'bitsandbytes>=0.49'`"
    return None


def _int8_promise(_params: dict[str, Any]) -> Promise:
    return Promise(bits=8, overhead_bits=32, adds_zeros=True)


def _4bit_promise(params: dict[str, Any]) -> Promise:
    scale_bits = 8 + 32 / SCALE_BLOCK if params["double_quant"] else 32
    return Promise(bits=4, group_size=BLOCK, overhead_bits=scale_bits, adds_zeros=True)


BNB_INT8 = Method(
    name="bnb-int8",
    function=bnb_int8,
    tier="kernel",
    needs_calibration=False,
    summary="LLM.int8 of bitsandbytes: weights and activations in int8, outlier features in higher precision",
    source="https://arxiv.org/abs/2208.07339",
    promise=_int8_promise,
    missing=missing_bitsandbytes,
)
BNB_NF4 = Method(
    name="bnb-nf4",
    function=bnb_nf4,
    tier="kernel",
    needs_calibration=False,
    summary="NF4 of bitsandbytes: 4-bit weights on normal quantiles, a scale for each 64 weights",
    source="https://arxiv.org/abs/2305.14314",
    promise=_4bit_promise,
    missing=missing_bitsandbytes,
)
BNB_FP4 = Method(
    name="bnb-fp4",
    function=bnb_fp4,
    tier="kernel",
    needs_calibration=False,
    summary="FP4 of bitsandbytes: weights as 4-bit floats, a scale for each 64 weights",
    source="https://arxiv.org/abs/2212.09720",
    promise=_4bit_promise,
    missing=missing_bitsandbytes,
)
