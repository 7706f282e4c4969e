"""Windows: documents as the model reads them.

A document is cut into windows of at most `context` positions, each with a BOS of its own where the SAE's convention
wants one. Documents are never joined. Windows are padded on the right only when they are batched; padding, BOS, EOS and
the like are no valid positions and count nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .errors import RegistryError

MAX_UNITS = 256
"""At most so many resampling units are kept: in longer texts, documents are dealt out to them in turn."""

_POOL = 16
_SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id")


@dataclass(frozen=True)
class Batch:
    """Some windows, padded on the right."""

    rows: Int[Tensor, " batch"]
    """Which windows these are."""
    tokens: Int[Tensor, "batch position"]
    valid: Bool[Tensor, "batch position"]
    """Positions that hold text: no padding, BOS, EOS."""
    scored: Bool[Tensor, "batch position"]
    """Valid positions whose next position is valid too: those that have a cross-entropy."""
    unit: Int[Tensor, "batch position"]
    """The resampling unit (document) of each position."""


@dataclass(frozen=True)
class Windows:
    """All windows of a text, each `[position]` token ids with the BOS in front where there is one."""

    tokens: tuple[Int[Tensor, " _"], ...]
    units: tuple[int, ...]
    """The resampling unit of each window."""
    special_ids: tuple[int, ...]

    @property
    def n_units(self) -> int:
        """Number of resampling units."""
        return max(self.units) + 1

    @property
    def n_positions(self) -> int:
        """Positions in all windows, BOS included."""
        return sum(len(window) for window in self.tokens)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each window starts if all are laid end to end."""
        starts = [0]
        for window in self.tokens[:-1]:
            starts.append(starts[-1] + len(window))
        return tuple(starts)

    @cached_property
    def begin_alike(self) -> bool:
        """Whether nothing but text differs: all begin with the same special token, or with text, and hold no other."""
        special = torch.tensor(self.special_ids, dtype=torch.long)
        first, rest = (
            torch.stack([window[0] for window in self.tokens]),
            torch.cat([window[1:] for window in self.tokens]),
        )
        starts = first[torch.isin(first, special)]
        alike = not len(starts) or (len(starts) == len(first) and bool((starts == starts[0]).all()))
        return alike and not bool(torch.isin(rest, special).any())

    def batches(self, max_positions: int) -> Iterator[Batch]:
        """All windows in batches of at most `max_positions` padded positions, the longest windows first.

        Windows of like length lie together, so that little is padded.
        """
        order = sorted(range(len(self.tokens)), key=lambda row: -len(self.tokens[row]))
        while order:
            size = max(1, max_positions // len(self.tokens[order[0]]))
            yield self._batch(order[:size])
            order = order[size:]

    def _batch(self, rows: list[int]) -> Batch:
        windows = [self.tokens[row] for row in rows]
        tokens = torch.nn.utils.rnn.pad_sequence(windows, batch_first=True)
        lengths = torch.tensor([len(window) for window in windows])
        inside = torch.arange(tokens.shape[1])[None] < lengths[:, None]
        valid = inside & ~torch.isin(tokens, torch.tensor(self.special_ids, dtype=torch.long))
        scored = torch.zeros_like(valid)
        scored[:, :-1] = valid[:, :-1] & valid[:, 1:]
        unit = torch.tensor([self.units[row] for row in rows])[:, None].expand_as(tokens)
        return Batch(torch.tensor(rows), tokens, valid, scored, unit)


def special_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Ids of BOS, EOS, padding and separator: what never counts as text."""
    found = {getattr(tokenizer, attribute, None) for attribute in _SPECIAL}
    return tuple(sorted(token for token in found if token is not None))


def bos_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token put in front of a window: BOS, or EOS where there is no BOS (as TransformerLens does)."""
    found: Any = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return found


def cut(
    documents: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    context: int,
    prepend_bos: bool,
) -> Iterator[tuple[int, Int[Tensor, " _"]]]:
    """The windows of documents, each with the number of its document.

    Args:
        context: positions of a window at most, BOS included.
    """
    bos = bos_id(tokenizer) if prepend_bos else None
    prefix = [] if bos is None else [bos]
    length = context - len(prefix)
    for number, document in enumerate(documents):
        ids = tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"]
        for start in range(0, len(ids), length):
            yield number, torch.tensor(prefix + ids[start : start + length])


def collect(
    documents: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    tokens: int,
    context: int,
    prepend_bos: bool,
    windows_are_units: bool = False,
) -> Windows:
    """Windows until `tokens` tokens of text (BOS not counted) are reached; fewer where the documents end before.

    Args:
        windows_are_units: resample windows instead of documents, for a text that is a single document.

    Raises:
        RegistryError: no text at all.
    """
    taken: list[Int[Tensor, " _"]] = []
    numbers: list[int] = []
    missing = tokens
    has_bos = prepend_bos and bos_id(tokenizer) is not None
    for number, window in cut(documents, tokenizer, context, prepend_bos):
        window = window[: missing + has_bos]
        taken.append(window)
        numbers.append(number)
        missing -= len(window) - has_bos
        if missing <= 0:
            break
    if not taken:
        raise RegistryError("The text has no tokens: every document is empty.")
    units = range(len(taken)) if windows_are_units else _renumber(numbers)
    return Windows(tuple(taken), tuple(unit % MAX_UNITS for unit in units), special_ids(tokenizer))


def one_each(
    documents: Iterable[str], tokenizer: PreTrainedTokenizerBase, *, context: int, prepend_bos: bool
) -> list[Int[Tensor, " _"]]:
    """The first window of every document, in their order: no token at all (or BOS alone) for one without text."""
    bos = bos_id(tokenizer) if prepend_bos else None
    prefix = [] if bos is None else [bos]
    length = context - len(prefix)
    return [
        torch.tensor(prefix + tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"][:length])
        for document in documents
    ]


def sample(
    documents: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    sequences: int,
    context: int,
    prepend_bos: bool,
    seed: int,
) -> list[Int[Tensor, " _"]]:
    """Random windows, for calibration.

    Those that fill the context come first, as published, and shorter ones where they do not suffice. They are drawn
    from the first `16 * sequences` windows of the text. Fewer come back where it has fewer.
    """
    pool = [window for _, window in islice(cut(documents, tokenizer, context, prepend_bos), _POOL * sequences)]
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed)).tolist()
    drawn = sorted((pool[index] for index in order), key=lambda window: len(window) < context)
    return drawn[:sequences]


def _renumber(numbers: list[int]) -> list[int]:
    """Document numbers without the gaps that empty documents leave."""
    order = {number: index for index, number in enumerate(dict.fromkeys(numbers))}
    return [order[number] for number in numbers]


def stream(
    documents: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    context: int,
    prepend_bos: bool,
    windows_at_once: int = 64,
) -> Iterator[Windows]:
    """Windows without end, some at a time: for training."""
    windows = (window for _, window in cut(documents, tokenizer, context, prepend_bos))
    while part := tuple(islice(windows, windows_at_once)):
        yield Windows(part, tuple(0 for _ in part), special_ids(tokenizer))
