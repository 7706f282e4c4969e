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

from .losses import cross_entropy_nats, kl_nats, log_probabilities

Hidden = Float[Tensor, "token d_model"]
Logits = Float[Tensor, "vocabulary token"]

_CUDA_NUMBERS = 2**24
"""Numbers in one vocabulary-sized tensor on a GPU."""
_CACHED_NUMBERS = 2**19
"""On a CPU, as long as that is not too few tokens: what is computed stays in its cache."""
_REUSED_NUMBERS = 2**23
"""On a CPU at most: the allocator does not keep what is larger than 32 MB, and the system clears it anew each time."""
_FEW_TOKENS = 128
"""With fewer, the unembedding is read too often."""
_MULTIPLE = 64
"""Of tokens: with other numbers of them, products are a third slower."""


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
            n_words = len(self._logits(state_hidden[:1]))
            for tokens in self._position.argsort().split(_tokens_at_once(n_words, state_hidden.device)):
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
        own = self._log_probs(state_hidden[tokens])
        self.state.ce[tokens] = self._cross_entropy(own, None, tokens)
        self.state.kl[tokens] = 0.0
        if dense_hidden is not None:
            self._settle_dense(dense_hidden[tokens], own, tokens)
        probabilities = own.exp()
        positions, at = self._position[tokens].unique(return_inverse=True)
        for asked in self._asked:
            if not asked.by_position:
                self._compare(asked.losses, tokens, own, probabilities, self._log_probs(asked.hidden[tokens]), None)
        # One product for all of these: each would be a narrow one.
        ablated = [asked for asked in self._asked if asked.by_position]
        if ablated:
            found = self._log_probs(torch.cat([asked.hidden[positions] for asked in ablated]))
            for asked, other in zip(ablated, found.split(len(positions), dim=1), strict=True):
                self._compare(asked.losses, tokens, own, probabilities, other, at)

    def _compare(
        self,
        losses: Losses,
        tokens: Int[Tensor, " chunk"],
        own: Logits,
        probabilities: Logits,
        other: Float[Tensor, "vocabulary column"],
        columns: Int[Tensor, " chunk"] | None,
    ) -> None:
        losses.ce[tokens] = self._cross_entropy(other, columns, tokens)
        losses.kl[tokens] = kl_nats(own, probabilities, other, columns)

    def _settle_dense(self, hidden: Hidden, own: Logits, tokens: Int[Tensor, " chunk"]) -> None:
        dense = self._log_probs(hidden)
        self.dense.ce[tokens] = self._cross_entropy(dense, None, tokens)
        self.dense.kl[tokens] = kl_nats(dense, dense.exp(), own, None)

    def _log_probs(self, hidden: Hidden) -> Logits:
        """In float32, whatever the model's dtype."""
        return log_probabilities(self._logits(hidden))

    def _cross_entropy(
        self, log_probs: Logits, columns: Int[Tensor, " chunk"] | None, tokens: Int[Tensor, " chunk"]
    ) -> Float[Tensor, " chunk"]:
        each = torch.arange(len(tokens), device=tokens.device) if columns is None else columns
        return cross_entropy_nats(log_probs, each, self._targets[tokens], self._scored[tokens])

    def _unknown(self) -> Losses:
        like = torch.full(self._targets.shape, torch.nan, device=self._targets.device)
        return Losses(like, like.clone())


def _tokens_at_once(n_words: int, device: torch.device) -> int:
    if device.type == "cuda":
        tokens = _CUDA_NUMBERS // n_words
    else:
        tokens = min(max(_FEW_TOKENS, _CACHED_NUMBERS // n_words), _REUSED_NUMBERS // n_words)
    return max(_MULTIPLE, tokens // _MULTIPLE * _MULTIPLE)
