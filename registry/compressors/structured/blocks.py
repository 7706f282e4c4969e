"""Removal of whole blocks.

The influence of block i on the residual stream x, over all tokens t of the calibration text (Men et al. 2024,
"ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", arXiv 2403.03853):

    BI_i = 1 - mean_t cos(x_i,t, x_i+1,t)

with x_i what enters the block and x_i+1 what leaves it, all measured on the model as it is before anything is taken
out. The blocks of least influence go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Annotated, Any

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...calibration import Calibration
from ...errors import RegistryError
from ...families import blocks_of, family_of
from ...sites import Site, edit, last_hidden
from ...structure import kept_blocks, note_kept_blocks
from ..method import Method
from ..promise import Promise

_INDEX_NAMES = ("layer_idx", "layer_id")
"""How modules of a block call its index, by which they find their part of a cache."""
_KINDS_BY_BLOCK = ("layer_types", "attention_layers")
"""Lists of a configuration that say of which kind each block is."""


def drop_blocks(
    model: PreTrainedModel,
    calibration: Calibration | None,
    *,
    count: Annotated[int, Field(ge=1)] | None = None,
    blocks: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None,
) -> PreTrainedModel:
    """Take whole blocks out: those of least influence, or those that are named.

    Args:
        count: how many go, chosen by their influence on calibration text.
        blocks: which ones go, counted from 0 in the dense model.

    Raises:
        RegistryError: a block that is not there, or no block would be left.
    """
    kept = kept_blocks(model)
    gone = _least_influence(model, calibration, count) if blocks is None else [_place(kept, index) for index in blocks]
    if len(gone) >= len(kept):
        raise RegistryError(f"The model has {len(kept)} blocks and must keep one: {len(gone)} cannot be taken out.")
    _take_out(model, gone)
    note_kept_blocks(model, tuple(index for place, index in enumerate(kept) if place not in gone))
    return model


@torch.no_grad()
def block_influences(model: PreTrainedModel, calibration: Calibration) -> Float[Tensor, " block"]:
    """The influence of every block, as defined on top of this file, in float64."""
    similarities = torch.zeros(len(blocks_of(model)), dtype=torch.float64)
    for batch in calibration.batches():
        with _compared(model, batch.valid.to(model.device), similarities):
            last_hidden(model, batch.tokens.to(model.device))
    return 1 - similarities / calibration.n_tokens


@contextmanager
def _compared(
    model: PreTrainedModel, valid: Bool[Tensor, "batch position"], similarities: Float[Tensor, " block"]
) -> Iterator[None]:
    """For the time of the context, add the cosine of what enters and leaves each block, summed over valid tokens."""
    entered: list[Tensor] = []

    def enter(hidden: Tensor) -> None:
        entered[:] = [hidden]

    def leave(hidden: Tensor, index: int) -> None:
        cosine = nn.functional.cosine_similarity(entered[0].float(), hidden.float(), dim=-1)
        similarities[index] += cosine[valid].sum(dtype=torch.float64).cpu()

    with ExitStack() as stack:
        for index in range(len(similarities)):
            stack.enter_context(edit(model, Site(index, "resid_pre"), enter))
            stack.enter_context(edit(model, Site(index, "resid_post"), partial(leave, index=index)))
        yield


def _least_influence(model: PreTrainedModel, calibration: Calibration | None, count: int | None) -> list[int]:
    if calibration is None or count is None:
        raise RegistryError("Blocks are chosen by their influence on calibration text, and none was given.")
    return block_influences(model, calibration).sort(stable=True).indices[:count].tolist()


def _place(kept: tuple[int, ...], index: int) -> int:
    if index not in kept:
        raise RegistryError(
            f"There is no block {index} to take out; those of the model are {', '.join(map(str, kept))}."
        )
    return kept.index(index)


def _take_out(model: PreTrainedModel, gone: Collection[int]) -> None:
    """Remove blocks by their present index, and renumber what is left for the cache and in the configuration."""
    left = [place for place in range(len(blocks_of(model))) if place not in gone]
    blocks = nn.ModuleList(blocks_of(model)[place] for place in left)
    model.set_submodule(family_of(model.config).blocks, blocks)
    for place, block in enumerate(blocks):
        for module in block.modules():
            for name in _INDEX_NAMES:
                if hasattr(module, name):
                    setattr(module, name, place)
    config = model.config
    for name in _KINDS_BY_BLOCK:
        kinds = getattr(config, name, None)
        if kinds is not None:
            setattr(config, name, [kinds[place] for place in left])
    if hasattr(config, "attention_types"):  # GPT-Neo, which writes the list in a form of its own as well
        config.attention_types = [[[kind], 1] for kind in config.attention_layers]
    config.num_hidden_layers = len(left)


def _promise(params: dict[str, Any]) -> Promise:
    count, blocks = params["count"], params["blocks"]
    if (count is None) == (blocks is None):
        raise RegistryError("Give either `count` (how many blocks go, chosen by influence) or `blocks` (which ones).")
    if blocks is not None and len(set(blocks)) < len(blocks):
        raise RegistryError(f"`blocks` names a block twice: {blocks}.")
    return Promise(drops_blocks=count if blocks is None else len(blocks))


def _needs_calibration(params: dict[str, Any]) -> bool:
    return params.get("blocks") is None


DROP_BLOCKS = Method(
    name="drop-blocks",
    function=drop_blocks,
    tier="structured",
    needs_calibration=_needs_calibration,
    summary="takes out whole blocks, those that change the residual stream least or those that are named",
    source="https://arxiv.org/abs/2403.03853",
    promise=_promise,
)
