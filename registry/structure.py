"""What structured compression leaves: which blocks of the dense model there still are, and which rows and columns.

The model itself carries these notes, so that whoever is handed one can find the dense model's places in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from .families import blocks_of, family_of

_BLOCKS = "_saetransfer_kept_blocks"
_FEATURES = "_saetransfer_kept_features"


@dataclass(frozen=True, eq=False)
class KeptFeatures:
    """Features of a dense linear layer that a smaller one still has; None stands for all of them."""

    outputs: Int[Tensor, " out"] | None = None
    inputs: Int[Tensor, " in"] | None = None


def kept_blocks(model: PreTrainedModel) -> tuple[int, ...]:
    """For each block of `model`, its index in the dense model."""
    return getattr(model, _BLOCKS, tuple(range(len(blocks_of(model)))))


def note_kept_blocks(model: PreTrainedModel, kept: tuple[int, ...]) -> None:
    """Note, after blocks were taken out, the dense indices of those that remain."""
    setattr(model, _BLOCKS, kept)


def kept_features(module: nn.Module) -> KeptFeatures:
    """The features of a linear layer that are left."""
    return getattr(module, _FEATURES, KeptFeatures())


def note_kept_features(module: nn.Module, kept: KeptFeatures) -> None:
    """Note, after a linear layer was made smaller, the dense features that remain."""
    setattr(module, _FEATURES, kept)


def block_index(model: PreTrainedModel, name: str) -> int | None:
    """The block that a module path or parameter name lies in; None outside the blocks."""
    found = re.match(rf"{re.escape(family_of(model.config).blocks)}\.(\d+)(?:\.|$)", name)
    return int(found[1]) if found else None


def name_now(model: PreTrainedModel, dense_name: str) -> str | None:
    """Where what was called `dense_name` in the dense model is in `model`; None where its block is gone."""
    block = block_index(model, dense_name)
    if block is None:
        return dense_name
    kept, path = kept_blocks(model), family_of(model.config).blocks
    if block not in kept:
        return None
    return f"{path}.{kept.index(block)}{dense_name[len(f'{path}.{block}') :]}"
