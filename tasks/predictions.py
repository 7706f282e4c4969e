"""What a state predicts of a batch, and with something spliced in: losses by token.

Vocabulary-sized tensors are the largest of all. They are made for some tokens at a time, and what the state itself
predicts of those is made once for all that is compared with it. So final hidden states are collected first (`ask`), and
all losses of a batch are computed together (`settle`); whoever counts them is called then (`then`).

Where every token at one position of its window is predicted alike (`ask_by_position`), predictions are made once for
each position. Tokens are therefore taken in the order of their positions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .losses import cross_entropy_nats, kl_nats

Hidden = Float[Tensor, "token d_model"]
Logits = Float[Tensor, "token vocabulary"]

_CHUNK_NUMBERS = 2**24
"""Numbers in one vocabulary-sized tensor: 64 MB. Fewer tokens than this gives would read the unembedding too often."""


@dataclass(frozen=True)
class Losses:
    """Losses of some predictions on a batch; NaN until the batch is settled."""

    ce: Float[Tensor, " token"]
    """Cross-entropy, nats; 0 where a token is not scored."""
    kl: Float[Tensor, " token"]
    """How far they are from the state's own, nats: KL(state || these), or KL(dense || state) for the dense state's."""


@dataclass(frozen=True)
class _Asked:
    """Predictions that somebody wants to know the losses of."""

    hidden: Hidden
    """Of each token, or of each position."""
    losses: Losses
    by_position: bool


class Predictions:
    """The predictions on one batch of text."""

    def __init__(
        self,
        *,
        targets: Int[Tensor, " token"],
        scored: Bool[Tensor, " token"],
        position: Int[Tensor, " token"],
        state_hidden: Callable[[], Hidden],
        dense_hidden: Callable[[], Hidden] | None,
        logits: Callable[[Hidden], Logits],
    ) -> None:
        """Hidden states are those after the last norm; `dense_hidden` is None where the state is the dense one.

        Args:
            targets: the next token; anything where there is none.
            scored: tokens that have a cross-entropy: the next position is text too.
            position: where each token stands in its window.
        """
        self._targets = targets
        self._scored = scored
        self._position = position
        self._state_hidden = state_hidden
        self._dense_hidden = dense_hidden
        self._logits = logits
        self._asked: list[_Asked] = []
        self._waiting: list[Callable[[], None]] = []

    @cached_property
    def state(self) -> Losses:
        """The state itself; its divergence from itself is 0."""
        return self._unknown()

    @cached_property
    def dense(self) -> Losses:
        """The dense state, and KL(dense || state)."""
        return self.state if self._dense_hidden is None else self._unknown()

    def ask(self, hidden: Hidden) -> Losses:
        """The losses of other final hidden states on this text, which are known once the batch is settled."""
        return self._ask(hidden, by_position=False)

    def ask_by_position(self, hidden: Float[Tensor, "position d_model"]) -> Losses:
        """The same where they depend on nothing but the position of a token in its window."""
        return self._ask(hidden, by_position=True)

    def then(self, count: Callable[[], None]) -> None:
        """Call `count` when all losses are known."""
        self._waiting.append(count)

    def settle(self) -> None:
        """Compute all losses that were asked for, and call those who wait for them; nothing if nobody does."""
        if self._waiting:
            state_hidden = self._state_hidden()
            dense_hidden = None if self._dense_hidden is None else self._dense_hidden()
            for tokens in self._position.argsort().split(self._chunk_tokens(state_hidden)):
                self._settle(tokens, state_hidden, dense_hidden)
        for count in self._waiting:
            count()
        self._waiting.clear()
        self._asked.clear()

    def _ask(self, hidden: Hidden, *, by_position: bool) -> Losses:
        losses = self._unknown()
        self._asked.append(_Asked(hidden, losses, by_position))
        return losses

    def _settle(self, tokens: Int[Tensor, " chunk"], state_hidden: Hidden, dense_hidden: Hidden | None) -> None:
        each = torch.arange(len(tokens), device=tokens.device)
        own = self._log_probs(state_hidden[tokens])
        self.state.ce[tokens] = self._cross_entropy(own, each, tokens)
        self.state.kl[tokens] = 0.0
        if dense_hidden is not None:
            self._settle_dense(dense_hidden[tokens], own, each, tokens)
        probabilities = own.exp()
        positions, at = self._position[tokens].unique(return_inverse=True)
        for asked in self._asked:
            which, rows = (positions, at) if asked.by_position else (tokens, each)
            other = self._log_probs(asked.hidden[which])
            asked.losses.ce[tokens] = self._cross_entropy(other, rows, tokens)
            asked.losses.kl[tokens] = kl_nats(own, probabilities, other, rows)

    def _settle_dense(
        self, hidden: Hidden, own: Logits, each: Int[Tensor, " chunk"], tokens: Int[Tensor, " chunk"]
    ) -> None:
        dense = self._log_probs(hidden)
        self.dense.ce[tokens] = self._cross_entropy(dense, each, tokens)
        self.dense.kl[tokens] = kl_nats(dense, dense.exp(), own, each)

    def _log_probs(self, hidden: Hidden) -> Logits:
        """In float32, whatever the model's dtype."""
        return torch.log_softmax(self._logits(hidden).float(), dim=-1)

    def _cross_entropy(
        self, log_probs: Logits, rows: Int[Tensor, " chunk"], tokens: Int[Tensor, " chunk"]
    ) -> Float[Tensor, " chunk"]:
        return cross_entropy_nats(log_probs, rows, self._targets[tokens], self._scored[tokens])

    def _chunk_tokens(self, hidden: Hidden) -> int:
        return max(1, _CHUNK_NUMBERS // self._logits(hidden[:1]).shape[-1])

    def _unknown(self) -> Losses:
        like = torch.full(self._targets.shape, torch.nan, device=self._targets.device)
        return Losses(like, like.clone())
