"""Toy models of every supported family: random weights, seconds on a CPU, no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PhiConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from saetransfer.registry.sites import Site, read

VOCABULARY = 96
_IDS: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
_GROUPED: dict[str, Any] = {"num_key_value_heads": 2}
# A head width that is not hidden_size / heads, as in Gemma and Qwen3: code that divides instead of reading it breaks.
_WIDE_HEADS: dict[str, Any] = {"head_dim": 16}


def toy_config(family: str) -> PretrainedConfig:
    """The configuration of a toy of that `model_type`; every toy has `hidden_size` 32 and at least 3 layers."""
    configs = {
        "llama": lambda: LlamaConfig(**_IDS, **_SHAPE, **_GROUPED),
        "mistral": lambda: MistralConfig(**_IDS, **_SHAPE, **_GROUPED, sliding_window=8),
        "qwen2": lambda: Qwen2Config(**_IDS, **_SHAPE, **_GROUPED),
        "qwen3": lambda: Qwen3Config(**_IDS, **_SHAPE, **_GROUPED, **_WIDE_HEADS),
        "gemma": lambda: GemmaConfig(**_IDS, **_SHAPE, num_key_value_heads=1, **_WIDE_HEADS),
        "gemma2": lambda: Gemma2Config(**_IDS, **_SHAPE, **_GROUPED, **_WIDE_HEADS, sliding_window=8),
        "gemma3_text": lambda: Gemma3TextConfig(**_IDS, **_SHAPE, **_GROUPED, **_WIDE_HEADS, sliding_window=8),
        "gpt2": lambda: GPT2Config(**_IDS, n_embd=32, n_layer=3, n_head=4, n_positions=64),
        "gpt_neox": lambda: GPTNeoXConfig(**_IDS, **_SHAPE),
        "gpt_neo": lambda: GPTNeoConfig(
            **_IDS,
            hidden_size=32,
            num_layers=4,
            num_heads=4,
            attention_types=[[["global", "local"], 2]],
            max_position_embeddings=64,
            window_size=8,
        ),
        "phi": lambda: PhiConfig(**_IDS, **_SHAPE),
    }
    return configs[family]()


MODEL_TYPES = (
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3_text",
    "gpt2",
    "gpt_neox",
    "gpt_neo",
    "phi",
)


def toy_model(
    family: str, seed: int = 0, dtype: torch.dtype = torch.float32, sizes: Mapping[str, int] | None = None
) -> PreTrainedModel:
    """A toy of that family with random weights, large enough that its blocks matter to the logits.

    Args:
        sizes: of its configuration, where they are to be others.
    """
    config = toy_config(family)
    for name, size in (sizes or {}).items():
        setattr(config, name, size)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 2:
                    parameter.normal_(0.0, 0.15)
    return model


def toy_tokens(batch: int = 2, positions: int = 12, seed: int = 1) -> torch.Tensor:
    """Random token ids `[batch, position]` that are no special tokens, behind a BOS."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, VOCABULARY, (batch, positions), generator=generator)
    tokens[:, 0] = 0
    return tokens


def read_one(model: PreTrainedModel, tokens: torch.Tensor, site: Site) -> torch.Tensor:
    """The activations at one site, `[batch, position, channel]`."""
    return read(model, tokens, [site])[site]
