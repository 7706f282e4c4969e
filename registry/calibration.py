"""Calibration text as a compressor sees it: token batches, and the inputs of every linear layer block by block.

The walk over the blocks is *sequential*, as published for Wanda and SparseGPT (github.com/locuslab/wanda,
`lib/prune.py`): within a block every statistic comes from the block as it is before it is changed, and the outputs of
the changed block are the inputs of the next one. With *dense* propagation the next block gets what the dense model
would give it, so that errors of one block are not seen, nor made good, by the next.

Each block is run by calling the whole model while the blocks before it are skipped, so masks, position embeddings and
whatever else a family prepares for a layer are the model's own; no cache is kept, since a cache that grows from pass to
pass falsifies the statistics without an error.

Windows may differ in length. They are padded on the right, where no valid position of a causal model sees the padding,
and padded positions are left out of everything that is handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .compressors.linear import LinearLayer, linear_layers
from .errors import RegistryError
from .families import blocks_of
from .sites import Site, capture, last_hidden, skip_blocks

_POSITIONS = 1024
Propagation = Literal["sequential", "dense"]


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """Windows of one forward pass."""

    tokens: Int[Tensor, "batch position"]
    valid: Bool[Tensor, "batch position"]
    """False on padding."""


class Calibration:
    """Windows of calibration tokens.

    Args:
        windows: token ids of each window, of any lengths, with a BOS in front where the model wants one.
        batch_size: windows in one forward pass, by default as many as have some 1,000 positions; no result depends on
            it beyond rounding.
        propagation: whether a block's inputs come from the changed blocks before it or from the dense ones.
        tokenizer: what made the tokens, for compressors that need the text; None where nobody has one.

    Raises:
        RegistryError: no window, or an empty one.
    """

    def __init__(
        self,
        windows: Sequence[Int[Tensor, " _position"]],
        batch_size: int | None = None,
        propagation: Propagation = "sequential",
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        if not windows or any(window.ndim != 1 or len(window) == 0 for window in windows):
            raise RegistryError("Calibration needs at least one window, and each must be a row of at least one token.")
        if batch_size is not None and batch_size < 1:
            raise RegistryError(f"The batch size of a calibration must be at least 1, got {batch_size}.")
        self.windows = tuple(windows)
        self.batch_size = batch_size or max(1, _POSITIONS // max(len(window) for window in windows))
        self.propagation = propagation
        self.tokenizer = tokenizer

    @property
    def n_sequences(self) -> int:
        """Number of windows."""
        return len(self.windows)

    @property
    def n_tokens(self) -> int:
        """Number of tokens, padding not counted."""
        return sum(len(window) for window in self.windows)

    def batches(self) -> Iterator[TokenBatch]:
        """The windows in order, each batch padded on the right to its longest window."""
        for start in range(0, self.n_sequences, self.batch_size):
            yield _padded(self.windows[start : start + self.batch_size])

    def blocks(self, model: PreTrainedModel) -> Iterator[Block]:
        """The blocks of `model`, first to last; under sequential propagation, changes are seen by all that follow.

        Observe a block, change its weights, ask for the next one. Hidden states of all windows are held on the
        model's device in its dtype, twice under dense propagation.
        """
        batches = [TokenBatch(batch.tokens.to(model.device), batch.valid.to(model.device)) for batch in self.batches()]
        hidden = [_block_input(model, batch.tokens) for batch in batches]
        last = len(blocks_of(model)) - 1
        for index in range(last + 1):
            if self.propagation == "sequential" or index == last:
                yield Block(index, model, batches, hidden)
                following = hidden
            else:
                following = [
                    _run_block(model, index, batch.tokens, stream)
                    for batch, stream in zip(batches, hidden, strict=True)
                ]
                yield Block(index, model, batches, hidden)
            if following is hidden and index < last:
                # In place, one batch after the other: no second copy of all hidden states, and none that lies scattered
                # among what is only needed for a moment.
                for batch, stream in zip(batches, hidden, strict=True):
                    stream.copy_(_run_block(model, index, batch.tokens, stream))
            hidden = following


@dataclass(frozen=True, eq=False)
class Block:
    """One block of the model, with the residual streams that enter it."""

    index: int
    """Counted from 0."""
    _model: PreTrainedModel = field(repr=False)
    _batches: Sequence[TokenBatch] = field(repr=False)
    _hidden: Sequence[Float[Tensor, "_batch _position d_model"]] = field(repr=False)

    @property
    def layers(self) -> list[LinearLayer]:
        """Its linear layers as they are now; names are relative to the block."""
        return linear_layers(blocks_of(self._model)[self.index])

    def observe(self, callback: Callable[[str, Float[Tensor, "token in_features"]], None]) -> None:
        """Run the block on all calibration tokens; `callback(name, inputs)` gets the inputs of each linear layer.

        It is called once for each layer and batch, in the model's dtype and without padded positions: accumulate in
        float32. Layers that share their inputs (queries, keys, values) get the same tensor. The weights are those of
        the block at the time of the call.
        """
        for batch, hidden in zip(self._batches, self._hidden, strict=True):
            with ExitStack() as stack:
                select = _Selection(batch.valid.flatten())
                waiting = {layer.name for layer in self.layers}
                for layer in self.layers:
                    hook = _reporter(callback, layer.name, select, waiting)
                    stack.callback(layer.module.register_forward_pre_hook(hook).remove)
                _pass_through(self._model, self.index, batch.tokens, hidden)


class _Stop(Exception):
    """Ends a forward pass as soon as what was wanted is there."""


def _padded(windows: Sequence[Int[Tensor, " _position"]]) -> TokenBatch:
    longest = max(len(window) for window in windows)
    # A window's own last token pads it: any id would do, and this one is surely in the vocabulary.
    rows = [torch.cat([window, window[-1:].expand(longest - len(window))]) for window in windows]
    lengths = torch.tensor([len(window) for window in windows])
    return TokenBatch(torch.stack(rows), torch.arange(longest)[None, :] < lengths[:, None])


class _Selection:
    """The valid rows of a layer's inputs; those of the same tensor only once."""

    def __init__(self, valid: Bool[Tensor, " token"]) -> None:
        self._valid = None if bool(valid.all()) else valid
        self._source: Tensor | None = None
        self._rows: Tensor | None = None

    def __call__(self, inputs: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "token in_features"]:
        if self._rows is None or inputs is not self._source:
            rows = inputs.reshape(-1, inputs.shape[-1])
            self._source, self._rows = inputs, rows if self._valid is None else rows[self._valid]
        return self._rows


def _reporter(
    callback: Callable[[str, Tensor], None], name: str, select: _Selection, waiting: set[str]
) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
        callback(name, select(args[0]))
        waiting.discard(name)
        if not waiting:
            raise _Stop  # before the last layer, which is often the widest, has multiplied for nobody

    return hook


def _stop(*_: Any) -> None:
    raise _Stop


def _block_input(
    model: PreTrainedModel, tokens: Int[Tensor, "batch position"]
) -> Float[Tensor, "batch position d_model"]:
    """The residual stream that enters the first block."""
    site = Site(0, "resid_pre")
    with torch.no_grad(), capture(model, [site]) as captured, ExitStack() as stack:
        stack.callback(blocks_of(model)[0].register_forward_pre_hook(_stop).remove)
        with suppress(_Stop):
            last_hidden(model, tokens)
    return captured[site]


def _run_block(
    model: PreTrainedModel,
    index: int,
    tokens: Int[Tensor, "batch position"],
    hidden: Float[Tensor, "batch position d_model"],
) -> Float[Tensor, "batch position d_model"]:
    """The output of block `index` for the residual stream `hidden`."""
    site = Site(index, "resid_post")
    with capture(model, [site]) as captured:
        _pass_through(model, index, tokens, hidden)
    return captured[site]


def _pass_through(
    model: PreTrainedModel,
    index: int,
    tokens: Int[Tensor, "batch position"],
    hidden: Float[Tensor, "batch position d_model"],
) -> None:
    """Run block `index` on the residual stream `hidden`, up to a `_Stop`; no other block does any work."""
    with torch.no_grad(), skip_blocks(model, index, hidden), ExitStack() as stack:
        stack.callback(blocks_of(model)[index].register_forward_hook(_stop).remove)
        with suppress(_Stop):
            last_hidden(model, tokens)
