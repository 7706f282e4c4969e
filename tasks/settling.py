"""The losses of a batch, from the final hidden states of all that is predicted of it.

Logits are made for some words at a time, and what the state itself predicts is made once for all that is compared with
it. Where every token at one position of its window is predicted alike, predictions are made once for each position;
tokens are therefore taken in the order of their positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .chunks import Room, blocks, chunks
from .losses import Block, Divergence, Predicted, Seen

Hidden = Float[Tensor, "token d_model"]


@runtime_checkable
class Unembedding(Protocol):
    """What makes logits of final hidden states."""

    @property
    def n_words(self) -> int:
        """Size of the vocabulary."""
        ...

    @property
    def by_block(self) -> bool:
        """Whether some words cost less than all."""
        ...

    def blocks(self, hidden: Hidden) -> Callable[[slice, Block], Block]:
        """The logits of some words in float32, given room for them, which it need not use."""
        ...


@dataclass(frozen=True)
class Text:
    """The tokens of a batch."""

    targets: Int[Tensor, " token"]
    """The next token; anything where there is none."""
    scored: Bool[Tensor, " token"]
    """Tokens that have a cross-entropy: the next position is text too."""
    position: Int[Tensor, " token"]
    """Where each token stands in its window."""


@dataclass(frozen=True)
class Losses:
    """Losses of some predictions on a batch; NaN until the batch is settled."""

    ce: Float[Tensor, " token"]
    """Cross-entropy, nats; 0 where a token is not scored."""
    kl: Float[Tensor, " token"]
    """How far they are from the state's own, nats: KL(state || these), or KL(dense || state) for the dense state's."""


@dataclass(frozen=True)
class Asked:
    """Predictions that somebody wants to know the losses of."""

    hidden: Hidden
    """Of each token, or of each position."""
    losses: Losses
    by_position: bool = False


class _Followed:
    """Predictions whose losses on some tokens are computed."""

    def __init__(self, asked: Asked, text: Text, tokens: Int[Tensor, " chunk"], unembedding: Unembedding) -> None:
        if asked.by_position:
            rows, columns = text.position[tokens].unique(return_inverse=True)
        else:
            rows, columns = tokens, None
        self._n_columns = len(rows)
        self._logits = unembedding.blocks(asked.hidden[rows])
        self.predicted = Predicted(text.targets[tokens], self._n_columns, columns)

    def see(self, words: slice, room: Room, more_room: Room) -> Seen:
        shape = (words.stop - words.start, self._n_columns)
        return self.predicted.see(words, self._logits(words, room.of(shape)), more_room.of(shape))


class Settling:
    """Fills in the losses of one batch."""

    def __init__(
        self, text: Text, unembedding: Unembedding, state: Asked, dense: Asked | None, asked: Sequence[Asked]
    ) -> None:
        """`dense` is None where the state is the dense one."""
        self._text = text
        self._unembedding = unembedding
        self._state = state
        self._dense = dense
        self._asked = asked

    def run(self) -> None:
        """Chunk by chunk."""
        for tokens in chunks(self._text.position, self._unembedding.n_words, self._unembedding.by_block):
            self._settle(tokens)

    def _settle(self, tokens: Int[Tensor, " chunk"]) -> None:
        own = self._follow(self._state, tokens)
        others = [self._follow(one, tokens) for one in self._asked]
        from_own = [Divergence(own.predicted, other.predicted) for other in others]
        dense = None if self._dense is None else self._follow(self._dense, tokens)
        from_dense = None if dense is None else Divergence(dense.predicted, own.predicted)
        rooms = [Room(tokens.device) for _ in range(4)]
        scratch = Room(tokens.device)
        for words in blocks(self._unembedding.n_words, len(tokens), tokens.device):
            seen = own.see(words, rooms[0], rooms[1])
            between = scratch.of(seen.logits.shape)
            if dense is not None and from_dense is not None:
                from_dense.add(dense.see(words, rooms[2], rooms[3]), seen, between)
            for other, divergence in zip(others, from_own, strict=True):
                divergence.add(seen, other.see(words, rooms[2], rooms[3]), between)
        self._note(self._state, tokens, own, None)
        if self._dense is not None and dense is not None:
            self._note(self._dense, tokens, dense, from_dense)
        for asked, other, found in zip(self._asked, others, from_own, strict=True):
            self._note(asked, tokens, other, found)

    def _follow(self, asked: Asked, tokens: Int[Tensor, " chunk"]) -> _Followed:
        return _Followed(asked, self._text, tokens, self._unembedding)

    def _note(
        self, asked: Asked, tokens: Int[Tensor, " chunk"], followed: _Followed, divergence: Divergence | None
    ) -> None:
        """Write the losses on some tokens; what has no divergence is compared with itself."""
        losses = followed.predicted.cross_entropy_nats()
        asked.losses.ce[tokens] = torch.where(self._text.scored[tokens], losses, torch.zeros_like(losses))
        asked.losses.kl[tokens] = torch.zeros_like(losses) if divergence is None else divergence.nats()
