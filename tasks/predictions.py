"""What a state predicts of a batch, and with something spliced in: losses by token.

What the state itself predicts is made once for all that is compared with it, some words at a time (`settling.py`). So
final hidden states are collected first (`ask`), and all losses of a batch are computed together (`settle`); whoever
counts them is called then (`then`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .settling import Asked, Hidden, Losses, Settling, Text, Unembedding


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
        unembedding: Unembedding,
    ) -> None:
        """Hidden states are those after the last norm; `dense_hidden` is None where the state is the dense one.

        Args:
            targets: the next token; anything where there is none.
            scored: tokens that have a cross-entropy: the next position is text too.
            position: where each token stands in its window.
            unembedding: makes logits of hidden states.
        """
        self._text = Text(targets, scored, position)
        self._state_hidden = state_hidden
        self._dense_hidden = dense_hidden
        self._unembedding = unembedding
        self._asked: list[Asked] = []
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
            dense = None if self._dense_hidden is None else Asked(self._dense_hidden(), self.dense)
            state = Asked(self._state_hidden(), self.state)
            Settling(self._text, self._unembedding, state, dense, self._asked).run()
        for count in self._waiting:
            count()
        self._waiting.clear()
        self._asked.clear()

    def _ask(self, hidden: Hidden, *, by_position: bool) -> Losses:
        losses = self._unknown()
        self._asked.append(Asked(hidden, losses, by_position))
        return losses

    def _unknown(self) -> Losses:
        like = torch.full(self._text.targets.shape, torch.nan, device=self._text.targets.device)
        return Losses(like, like.clone())
