"""Cross-entropy and Kullback-Leibler divergence by token, in nats, from float32 logits, some words at a time.

Tensors as large as the vocabulary are never made. As in the online softmax (Milakov and Gimelshein 2018, arXiv
1805.02867), what is summed of the words so far is relative to the largest logit so far, and shrinks when a larger one
comes:

    ln p_v = z_v - largest - ln total,    total = sum_v exp(z_v - largest)
    KL(p || q) = sum_v p_v (z_v - y_v) - ln sum_v exp z_v + ln sum_v exp y_v

Words come first, and tokens lie side by side. `largest` and `total` are kept apart: as one number they would round away
what logits far from 0 have in common.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Block = Float[Tensor, "word column"]
"""What belongs to some words."""


@dataclass(frozen=True)
class Seen:
    """Some words of some predictions."""

    logits: Block
    """Less the largest of all words so far."""
    exponentials: Block
    total: Float[Tensor, " column"]
    """Sum of the exponentials."""


class Predicted:
    """Some predictions, of which the words seen so far are known."""

    def __init__(
        self, targets: Int[Tensor, " token"], n_columns: int, columns: Int[Tensor, " token"] | None = None
    ) -> None:
        """No words yet.

        Args:
            targets: the word of each token that is asked for.
            n_columns: number of predictions.
            columns: which of them belongs to each token; None where each token has its own.
        """
        device = targets.device
        self.largest = torch.full((n_columns,), torch.finfo(torch.float32).min, device=device)
        self.total = torch.zeros(n_columns, device=device)
        self.shrunk = torch.ones(n_columns, device=device)
        """What sums over earlier words were multiplied with when the last ones came."""
        self.columns = columns
        self._targets = targets
        self._own = torch.arange(len(targets), device=device) if columns is None else columns
        self._at_target = torch.full(targets.shape, torch.nan, device=device)

    def see(self, words: slice, logits: Block, room: Block) -> Seen:
        """Take in the logits of the next words; they are written over, and `room` is."""
        inside = (self._targets >= words.start) & (self._targets < words.stop)
        at = (self._targets - words.start).clamp(0, len(logits) - 1)
        self._at_target = torch.where(inside, logits[at, self._own], self._at_target)
        largest = torch.maximum(self.largest, logits.amax(dim=0))
        self.shrunk = (self.largest - largest).exp()
        self.largest = largest
        logits -= largest
        exponentials = torch.exp(logits, out=room)
        seen = Seen(logits, exponentials, exponentials.sum(dim=0))
        self.total = self.total * self.shrunk + seen.total
        return seen

    def cross_entropy_nats(self) -> Float[Tensor, " token"]:
        """-ln p(target), when all words were seen."""
        return (self.by_token(self.largest) - self._at_target) + self.by_token(self.total.log())

    def by_token(self, values: Float[Tensor, " column"]) -> Float[Tensor, " token"]:
        """What was found for each prediction, for each token."""
        return values if self.columns is None else values[self.columns]


class Divergence:
    """KL(reference || other), where the reference has a prediction for each token.

    What is summed is the difference of the logits, from which most of what is common to all words is taken away first,
    so that predictions that are close lose no digits and equal ones give exactly 0. A probability that underflows to 0
    counts 0, not NaN.
    """

    def __init__(self, reference: Predicted, other: Predicted) -> None:
        self._reference = reference
        self._other = other
        self._sum = torch.zeros_like(reference.largest)
        self._common: Float[Tensor, " token"] | None = None

    def add(self, reference: Seen, other: Seen, room: Block) -> None:
        """Take in the words that both have seen last; `room` is written over."""
        moved = self._moved()
        if self._common is None:
            self._common = moved
        theirs = other.logits
        if self._other.columns is not None:
            theirs = torch.gather(theirs, 1, self._other.columns.expand(len(theirs), -1), out=room)
        found = torch.sub(reference.logits, theirs, out=room).mul_(reference.exponentials).sum(dim=0)
        found += (moved - self._common) * reference.total
        self._sum = self._sum * self._reference.shrunk + found

    def nats(self) -> Float[Tensor, " token"]:
        """The divergence, when all words were seen."""
        reference, other = self._reference, self._other
        assert self._common is not None, "no words were seen"
        normalisers = (self._common - self._moved()) + (other.by_token(other.total.log()) - reference.total.log())
        return self._sum / reference.total + normalisers

    def _moved(self) -> Float[Tensor, " token"]:
        return self._reference.largest - self._other.by_token(self._other.largest)
