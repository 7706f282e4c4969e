"""Where each architecture family keeps its blocks and the places that SAEs read.

A family is a table row, not code: module paths as transformers 5 names them. Sites mean what TransformerLens means:
`mlp_out` is what the MLP adds to the residual stream (in Gemma 2 and 3 that is after the norm that follows the MLP),
`attn_z` is the input of the attention's output projection.

A *unit* is what structured compression takes out: a group of heads that share a key-value head (a single head where
each has its own), or a neuron of the MLP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from .errors import RegistryError

Units = Literal["heads", "neurons"]


@dataclass(frozen=True)
class Wiring:
    """Paths, within a block, of the linear layers that heads and neurons are made of."""

    heads_in: tuple[str, ...]
    """Give queries, keys and values."""
    neurons_in: tuple[str, ...]
    """Give what an MLP's neurons are computed from: the gate too, where there is one."""
    neurons_out: str
    """Takes the neurons back to the residual stream."""
    head_parts: int = 1
    """Outputs of a layer of `heads_in` are ordered `[part, key-value head, channel]`: three parts where one layer gives
    the queries of all heads, then all keys, then all values; else one."""
    head_counts: tuple[str, ...] = ()
    """Attributes of the attention module that its forward pass reads and that grow with its number of heads."""


_ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_GATED = Wiring(_ATTENTION, ("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj")
_GPT2 = Wiring(("attn.c_attn",), ("mlp.c_fc",), "mlp.c_proj", head_parts=3, head_counts=("num_heads", "split_size"))
_NEOX = Wiring(("attention.query_key_value",), ("mlp.dense_h_to_4h",), "mlp.dense_4h_to_h")
_NEO = Wiring(
    ("attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj"),
    ("mlp.c_fc",),
    "mlp.c_proj",
    head_counts=("num_heads",),
)
_PHI = Wiring(_ATTENTION, ("mlp.fc1",), "mlp.fc2")


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
    wiring: Wiring = _GATED
    layer_norm: str | None = None
    """Path, within a block, of the norm before its attention, in families of LayerNorm; None in those of RMSNorm."""
    blocks_give_tuples: bool = False
    """Whether a block's output is a tuple that starts with the hidden states, as the model's own code unpacks it."""

    def units_of(self, path: str) -> Units | None:
        """What the linear layer at that path within a block is made of; None for any other."""
        if path == self.attn_z or path in self.wiring.heads_in:
            return "heads"
        return "neurons" if path == self.wiring.neurons_out or path in self.wiring.neurons_in else None


FAMILIES = (
    Family("Llama", ("llama",), "model.layers", "mlp", "self_attn.o_proj"),
    Family("Mistral", ("mistral",), "model.layers", "mlp", "self_attn.o_proj"),
    Family("Qwen2", ("qwen2",), "model.layers", "mlp", "self_attn.o_proj"),
    Family("Qwen3", ("qwen3",), "model.layers", "mlp", "self_attn.o_proj"),
    Family("Gemma", ("gemma",), "model.layers", "mlp", "self_attn.o_proj"),
    Family("Gemma 2", ("gemma2",), "model.layers", "post_feedforward_layernorm", "self_attn.o_proj"),
    Family("Gemma 3", ("gemma3_text",), "model.layers", "post_feedforward_layernorm", "self_attn.o_proj"),
    Family("GPT-2", ("gpt2",), "transformer.h", "mlp", "attn.c_proj", _GPT2, "ln_1"),
    Family("GPT-NeoX", ("gpt_neox",), "gpt_neox.layers", "mlp", "attention.dense", _NEOX, "input_layernorm"),
    Family("GPT-Neo", ("gpt_neo",), "transformer.h", "mlp", "attn.attention.out_proj", _NEO, "ln_1", True),
    Family("Phi", ("phi",), "model.layers", "mlp", "self_attn.dense", _PHI, "input_layernorm"),
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
