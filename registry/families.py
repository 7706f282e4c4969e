"""Where each architecture family keeps its blocks and the places that SAEs read.

A family is a table row, not code: module paths as transformers 5 names them. Sites mean what TransformerLens means:
`mlp_out` is what the MLP adds to the residual stream (in Gemma 2 and 3 that is after the norm that follows the MLP),
`attn_z` is the input of the attention's output projection.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from .errors import RegistryError


@dataclass(frozen=True)
class Family:
    """Module paths of one architecture family."""

    name: str
    model_types: tuple[str, ...]
    """Values of `model_type` in `config.json`."""
    blocks: str
    """Path of the list of blocks within the causal language model."""
    mlp_out: str
    """Path, within a block, of the module whose output is added to the residual stream by the MLP."""
    attn_z: str
    """Path, within a block, of the attention's output projection; its input is `attn_z`."""
    blocks_give_tuples: bool = False
    """Whether a block's output is a tuple that starts with the hidden states, as the model's own code unpacks it."""


FAMILIES = (
    Family("Llama", ("llama",), "model.layers", "mlp", "self_attn.o_proj"),
    Family("Mistral", ("mistral",), "model.layers", "mlp", "self_attn.o_proj"),
    Family("Qwen2", ("qwen2",), "model.layers", "mlp", "self_attn.o_proj"),
    Family("Qwen3", ("qwen3",), "model.layers", "mlp", "self_attn.o_proj"),
    Family("Gemma", ("gemma",), "model.layers", "mlp", "self_attn.o_proj"),
    Family("Gemma 2", ("gemma2",), "model.layers", "post_feedforward_layernorm", "self_attn.o_proj"),
    Family("Gemma 3", ("gemma3_text",), "model.layers", "post_feedforward_layernorm", "self_attn.o_proj"),
    Family("GPT-2", ("gpt2",), "transformer.h", "mlp", "attn.c_proj"),
    Family("GPT-NeoX", ("gpt_neox",), "gpt_neox.layers", "mlp", "attention.dense"),
    Family("GPT-Neo", ("gpt_neo",), "transformer.h", "mlp", "attn.attention.out_proj", blocks_give_tuples=True),
    Family("Phi", ("phi",), "model.layers", "mlp", "self_attn.dense"),
)


def family_of(config: PretrainedConfig) -> Family:
    """The family of a model's configuration.

    Raises:
        RegistryError: a family that is not supported, with those that are.
    """
    for family in FAMILIES:
        if config.model_type in family.model_types:
            return family
    supported = ", ".join(f"{family.name} ({', '.join(family.model_types)})" for family in FAMILIES)
    raise RegistryError(
        f"Models of type '{config.model_type}' are not supported. Supported: {supported}. "
        "A new family is one row in registry/families.py."
    )


def blocks_of(model: PreTrainedModel) -> nn.ModuleList:
    """The list of a model's blocks, first to last."""
    blocks = model.get_submodule(family_of(model.config).blocks)
    if not isinstance(blocks, nn.ModuleList):
        raise TypeError(f"expected a ModuleList of blocks in {type(model).__name__}, got {type(blocks).__name__}")
    return blocks
