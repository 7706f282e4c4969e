"""What structured compression leaves: which blocks of the dense model there still are, and which rows and columns.

The model itself carries these notes, so that whoever is handed one can find the dense model's places in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from .families import blocks_of, family_of

_BLOCKS = "_saetransfer_kept_blocks"
_FEATURES = "_saetransfer_kept_features"


@dataclass(frozen=True, eq=False)
class KeptFeatures:
    """Features of a dense linear layer that a smaller one still has; None stands for all of them."""

    outputs: Int[Tensor, " out"] | None = None
    inputs: Int[Tensor, " in"] | None = None

    def of(self, dense: Float[Tensor, "out in"]) -> tuple[Int[Tensor, " left_out"], Int[Tensor, " left_in"]]:
        """Which outputs and which inputs of a dense matrix are left, on its device."""
        rows, columns = (
            torch.arange(n) if kept is None else kept
            for kept, n in zip((self.outputs, self.inputs), dense.shape, strict=True)
        )
        return rows.to(dense.device), columns.to(dense.device)


def kept_blocks(model: PreTrainedModel) -> tuple[int, ...]:
    """For each block of `model`, its index in the dense model."""
    return getattr(model, _BLOCKS, tuple(range(len(blocks_of(model)))))


def note_kept_blocks(model: PreTrainedModel, kept: tuple[int, ...]) -> None:
    """Note, after blocks were taken out, the dense indices of those that remain."""
    setattr(model, _BLOCKS, kept)


def kept_features(model: PreTrainedModel, name: str) -> KeptFeatures:
    """The features that are left of the linear layer that is now at that module path."""
    block, path = split_name(model, name)
    return KeptFeatures() if block is None else _notes(model, block).get(path, KeptFeatures())


def note_kept_features(model: PreTrainedModel, name: str, kept: KeptFeatures) -> None:
    """Note, after the linear layer at that path was made smaller, which of the features it had so far remain."""
    before = kept_features(model, name)
    block, path = split_name(model, name)
    if block is None:
        raise ValueError(f"{name} lies in no block")
    after = KeptFeatures(_narrowed(before.outputs, kept.outputs), _narrowed(before.inputs, kept.inputs))
    setattr(blocks_of(model)[block], _FEATURES, {**_notes(model, block), path: after})


def split_name(model: PreTrainedModel, name: str) -> tuple[int | None, str]:
    """The block that a module path or parameter name lies in, and the path within it; None outside the blocks."""
    found = re.match(rf"{re.escape(family_of(model.config).blocks)}\.(\d+)(?:\.|$)", name)
    return (int(found[1]), name[found.end() :]) if found else (None, name)


def name_now(model: PreTrainedModel, dense_name: str) -> str | None:
    """Where what was called `dense_name` in the dense model is in `model`; None where its block is gone."""
    block, path = split_name(model, dense_name)
    if block is None:
        return dense_name
    kept = kept_blocks(model)
    if block not in kept:
        return None
    return f"{family_of(model.config).blocks}.{kept.index(block)}.{path}".removesuffix(".")


def _notes(model: PreTrainedModel, block: int) -> dict[str, KeptFeatures]:
    # Notes are the block's: a library may put another module in the place of a linear layer, and blocks are renumbered.
    return getattr(blocks_of(model)[block], _FEATURES, {})


def _narrowed(before: Int[Tensor, " was"] | None, kept: Int[Tensor, " left"] | None) -> Int[Tensor, " left"] | None:
    return before if kept is None else kept if before is None else before[kept]
