"""A checkpoint loaded as a state of its dense model: what fits is found out before, and again after.

transformers fills weights that it does not find with random numbers, ignores keys that it does not know, and loads any
model of any size. So the configuration is compared with the dense model's before weights are read, and keys and shapes
afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from ...errors import Impossible
from ...foreign import first_line, read_by_library
from ...structure import kept_blocks, note_kept_blocks
from ..kernels.bitsandbytes import settle
from ..linear import layer_at, linear_layers
from ..outcome import NotCompressed
from . import packed
from .formats import AWQ, BITSANDBYTES, COMPRESSED_TENSORS, GGUF, GPTQ, Format, format_of, require
from .source import WHOSE, Source

_MUST_AGREE = {
    "model_type": "model_type",
    "hidden_size": "width",
    "num_hidden_layers": "number of layers",
    "num_attention_heads": "number of attention heads",
    "vocab_size": "vocabulary",
}
_LOADED_IN_PLACE = (BITSANDBYTES, GPTQ, AWQ, GGUF)
"""Formats whose library puts weights on the device while they are loaded, and does not let them move afterwards."""


@dataclass(frozen=True)
class Dense:
    """What is kept of a dense model, to load its checkpoint by."""

    config: PretrainedConfig
    dtype: torch.dtype
    device: torch.device
    shapes: Mapping[str, tuple[int, int]]
    """Output and input features of every linear layer."""
    blocks: tuple[int, ...]
    """See `structure.kept_blocks`."""

    @classmethod
    def take(cls, model: PreTrainedModel) -> Dense:
        """Note what is needed of a model and let its weights go, so that never two models lie in memory."""
        shapes = {layer.name: layer.shape for layer in linear_layers(model)}
        dense = cls(model.config, model.dtype, model.device, shapes, kept_blocks(model))
        nn.Module.to(model, device="meta")
        return dense


def load(source: Source, dense: Dense) -> PreTrainedModel:
    """The checkpoint as a state of the dense model, in its dtype where weights are dense, on its device.

    Raises:
        Impossible: a library that reads the checkpoint is not installed.
        RegistryError: the checkpoint does not load.
        NotCompressed: it is no checkpoint of that model.
    """
    if source.gguf is not None:
        require(GGUF, source)  # even the configuration is read by that library
    config = source.config()
    stored = GGUF if source.gguf is not None else format_of(config, source)
    _check_config(source, config, dense.config)
    require(stored, source)
    loaded = _read(source, stored, dense)
    if stored is COMPRESSED_TENSORS:
        _decompress(loaded)
    elif stored is BITSANDBYTES:
        settle(loaded)
    if stored not in _LOADED_IN_PLACE:
        nn.Module.to(loaded, dense.device)
    _check_shapes(source, loaded, dense)
    if stored in (COMPRESSED_TENSORS, GGUF):
        packed.note(loaded, source)
    note_kept_blocks(loaded, dense.blocks)
    return loaded.eval().requires_grad_(False)


def _check_config(source: Source, config: PretrainedConfig, dense: PretrainedConfig) -> None:
    differing = [
        f"{name} {found!r} instead of {wanted!r}"
        for key, name in _MUST_AGREE.items()
        if (found := getattr(config, key, None)) != (wanted := getattr(dense, key, None))
    ]
    if differing:
        raise NotCompressed(
            f"{WHOSE} {source.shown} is of another model than the dense one: it has {', '.join(differing)}."
        )


def _read(source: Source, stored: Format, dense: Dense) -> PreTrainedModel:
    with read_by_library(f"{WHOSE} {source.shown} ({stored.name}) does not load"):
        try:
            loaded, report = AutoModelForCausalLM.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues]
                source.location,
                **source.arguments,
                **_options(stored, dense.device),
                dtype=dense.dtype,
                use_safetensors=True,
                output_loading_info=True,
            )
        except ImportError as error:
            raise Impossible(f"{WHOSE} {source.shown} ({stored.name}): {first_line(error)}") from error
    _check_keys(source, report)
    return loaded


def _options(stored: Format, device: torch.device) -> dict[str, Any]:
    if stored not in _LOADED_IN_PLACE:
        return {}
    options: dict[str, Any] = {"device_map": {"": device}}
    if stored is GGUF and hasattr(transformers, "GgufConfig"):
        # Where the package `kernels` is installed, transformers would fetch code from the hub for packed blocks.
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    return options


def _check_keys(source: Source, report: Mapping[str, Any]) -> None:
    said = {"missing_keys": "lacks", "unexpected_keys": "has, beside those of the model,", "mismatched_keys": "misfits"}
    faults = [
        f"{verb} {len(names)} weights, such as {', '.join(names[:3])}"
        for key, verb in said.items()
        if (names := sorted(str(name) for name in report[key]))
    ]
    if faults:
        raise NotCompressed(
            f"{WHOSE} {source.shown} {'; it '.join(faults)}. It is incomplete or belongs to another model."
        )


def _check_shapes(source: Source, loaded: PreTrainedModel, dense: Dense) -> None:
    for name, shape in dense.shapes.items():
        layer = layer_at(loaded, name, shape[1])
        if layer is None or layer.shape != shape:
            found = "no linear layer that takes such inputs" if layer is None else f"a matrix of {layer.shape}"
            raise NotCompressed(
                f"{WHOSE} {source.shown} has {found} in {name}, where the dense model has a matrix of {shape}."
            )


def _decompress(loaded: PreTrainedModel) -> None:
    """Unpack the weights, and leave the modules' rounding of activations, where the checkpoint has one, in place.

    transformers' `dequantize=True` gives plain layers instead: it drops that rounding, and unpacks all layers by the
    scheme of the first group of a checkpoint that has several.
    """
    quantizer: Any = loaded.hf_quantizer
    quantizer.compressor.decompress_model(loaded)
