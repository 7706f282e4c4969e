"""What the tests of compressors share."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from saetransfer.registry.calibration import Calibration
from saetransfer.registry.compressors.linear import linear_layers
from saetransfer.registry.compressors.method import Compressor, compress, noted_warnings
from saetransfer.registry.compressors.outcome import Realised
from saetransfer.registry.compressors.shelf import resolve
from saetransfer.registry.compressors.snapshot import DenseSnapshot
from saetransfer.registry.compressors.verify import verify
from tests.toys import toy_config, toy_tokens

FAMILIES = ("llama", "gpt_neox", "gpt2", "gemma2")
HAS_TORCHAO = importlib.util.find_spec("torchao") is not None
needs_torchao = pytest.mark.skipif(not HAS_TORCHAO, reason="torchao is not installed: pip install 'torchao>=0.17'")


def with_library(name: str) -> object:
    """The name of a card as a parameter of a test, which is skipped where the card needs torchao and it is absent."""
    return pytest.param(name, marks=needs_torchao) if name.startswith("torchao") else name


def wide_toy(family: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> PreTrainedModel:
    """A toy whose layers have 64 or 128 inputs: bitsandbytes' NF4 takes no others on a CPU."""
    config = toy_config(family)
    if family == "gpt2":
        config.n_embd = 64
    else:
        config.hidden_size, config.intermediate_size, config.head_dim = 64, 128, 16
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 2:
                    parameter.normal_(0.0, 0.15)
    return model


def calibration(lengths: tuple[int, ...] = (20, 12, 20, 7), batch_size: int = 2) -> Calibration:
    """Ragged windows of random tokens."""
    windows = [toy_tokens(1, length, seed=index)[0] for index, length in enumerate(lengths)]
    return Calibration(windows, batch_size)


def compressor(definition: str | Mapping[str, Any], folder: Path = Path()) -> Compressor:
    """The compressor of a definition that names no other."""
    return resolve(definition, folder, {})


def compressed(
    model: PreTrainedModel, definition: str | Mapping[str, Any], text: Calibration | None = None
) -> PreTrainedModel:
    """A compressed copy; the model itself stays as it is."""
    with noted_warnings():
        return compress(copy.deepcopy(model), compressor(definition), text or calibration())


def verified(model: PreTrainedModel, chosen: Compressor) -> tuple[PreTrainedModel, Realised]:
    """A compressed copy with what verification says of it."""
    with DenseSnapshot(model, toy_tokens()) as snapshot, noted_warnings() as notes:
        result = compress(copy.deepcopy(model), chosen, calibration())
        return result, verify(result, snapshot, chosen.promise, toy_tokens().unbind(), notes)


def generated(model: PreTrainedModel, *, use_cache: bool) -> torch.Tensor:
    """Twelve tokens more, the likeliest each time."""
    generate: Any = model.generate
    return generate(toy_tokens(), use_cache=use_cache, max_new_tokens=12, do_sample=False, pad_token_id=2)


def weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Copies of the target matrices, `[out, in]`."""
    return {layer.name: layer.weight.clone() for layer in linear_layers(model)}
