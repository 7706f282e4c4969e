"""SAEs of weights as TransformerLens processes them, read on the weights as they were published.

`HookedTransformer.from_pretrained` changes weights so that the model's output stays. What that does to activations,
from `transformer_lens/weight_processing.py` (the tests run both and compare):

| option                             | resid_pre, resid_post, mlp_out  | attn_z                                     |
|------------------------------------|---------------------------------|--------------------------------------------|
| `fold_ln`                          | nothing                         | nothing                                    |
| `center_writing_weights`           | lose their mean over channels   | nothing                                    |
| `fold_value_biases`                | nothing                         | loses the value biases                     |
| `fold_ln` with `fold_value_biases` | nothing                         | and the values that the norm's bias gives  |
| `center_unembed`                   | nothing                         | nothing                                    |
| `refactor_factored_attn_matrices`  | nothing                         | every head has another basis               |

Centring is only done to models of LayerNorm, which never sees the mean; models of RMSNorm ignore the option, and have
no bias in their norms. `from_pretrained_no_processing`, with which SAELens loads models since September 2024
(decoderesearch/SAELens#279), does nothing of all this unless it is told to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import RegistryError
from ..families import Family, blocks_of, family_of
from ..sites import Site

ValueOffset = Literal["bias", "bias and norm"]


@dataclass(frozen=True)
class Processing:
    """What was done to the weights of the model that an SAE was trained on; named as in TransformerLens."""

    fold_ln: bool = False
    center_writing_weights: bool = False
    fold_value_biases: bool = False
    refactor_factored_attn_matrices: bool = False

    def centres(self, site: Site, family: Family) -> bool:
        """Whether activations there have lost their mean over channels."""
        return self.center_writing_weights and family.layer_norm is not None and site.kind != "attn_z"

    def value_offset(self, site: Site, family: Family) -> ValueOffset | None:
        """What activations there have lost of the values of their heads.

        Raises:
            RegistryError: heads are in a basis of their own.
        """
        if site.kind != "attn_z":
            return None
        if self.refactor_factored_attn_matrices:
            raise RegistryError(
                f"it was trained on '{site.name}' after TransformerLens' refactor_factored_attn_matrices, which gives "
                "every head another basis: the model's own activations cannot be read with it."
            )
        if not self.fold_value_biases:
            return None
        return "bias and norm" if self.fold_ln and family.layer_norm is not None else "bias"


UNPROCESSED = Processing()
PROCESSED = Processing(fold_ln=True, center_writing_weights=True, fold_value_biases=True)
"""What `HookedTransformer.from_pretrained` does unless it is told otherwise."""


def from_kwargs(kwargs: Mapping[str, Any]) -> Processing:
    """What SAELens' `model_from_pretrained_kwargs` ask for; they go to `from_pretrained_no_processing`."""
    return Processing(**{name: bool(kwargs.get(name, False)) for name in Processing.__dataclass_fields__})


@torch.no_grad()
def values_of(model: PreTrainedModel, site: Site, offset: ValueOffset) -> Float[Tensor, " channel"]:
    """What TransformerLens has taken off `attn_z` of a dense model: the values of a token whose normed input is zero.

    Attention weights sum to one, so a constant among the values comes out of every head as it went in.
    """
    family, block = family_of(model.config), blocks_of(model)[site.layer]
    layer = block.get_submodule(family.wiring.heads_in[-1])
    normed: Tensor = torch.zeros(1, model.config.hidden_size, dtype=model.dtype, device=model.device)
    if offset == "bias and norm" and family.layer_norm is not None:
        normed = block.get_submodule(family.layer_norm).get_parameter("bias")[None]
    n_heads = model.config.num_attention_heads
    given, d_head = layer(normed)[0], site.width(model.config) // n_heads
    if len(family.wiring.heads_in) == 1:
        # One layer gives queries, keys and values: those of all heads in turn, or head by head.
        given = given.view(3, -1)[2] if family.wiring.head_parts == 3 else given.view(n_heads, 3, d_head)[:, 2]
    values = given.reshape(-1, d_head)
    return values.repeat_interleave(n_heads // values.shape[0], dim=0).flatten().float()
