"""An interpolated n-gram model with modified Kneser-Ney smoothing: what local statistics alone can predict.

Source: Chen and Goodman, "An empirical study of smoothing techniques for language modeling" (1999), section 3.
An n-gram is one integer (base: the vocabulary's size), so that counting is sorting and a look-up is a binary search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Level:
    """What is known of n-grams of one order: their discounted share, and what each context leaves to shorter ones."""

    grams: Ints
    """Keys of the n-grams, ascending."""
    shares: Floats
    """max(count - discount, 0) / count of the context, for every n-gram."""
    contexts: Ints
    """Keys of the contexts (n-grams without their last token), ascending."""
    left_over: Floats
    """Probability that a context hands down to the next shorter one."""


class KneserNey:
    """Probabilities of tokens given the `order - 1` before them."""

    def __init__(self, documents: Sequence[Sequence[int]], vocabulary: int, order: int = 5) -> None:
        """Count the documents; each begins with a token that is only a context (`<bos>`) and never crosses another.

        Raises `ValueError` where an n-gram does not fit into 63 bits.
        """
        if order * np.log2(vocabulary) >= 63:
            raise ValueError(f"{order} tokens of a vocabulary of {vocabulary} do not fit into one integer of 63 bits.")
        self.vocabulary, self.order = vocabulary, order
        grams, counts = np.unique(self._keys(documents), return_counts=True)
        self.levels = []
        for n in range(order, 0, -1):
            self.levels.insert(0, _level(grams, counts, vocabulary))
            if n > 1:
                # Shorter n-grams count the different tokens before them, not how often they occur.
                grams, counts = np.unique(grams % vocabulary ** (n - 1), return_counts=True)

    def nats(self, documents: Sequence[Sequence[int]]) -> Floats:
        """- ln p of every token but the first of each document, all documents in one row."""
        keys = self._keys(documents)
        p = np.full(len(keys), 1 / self.vocabulary)
        for n, level in enumerate(self.levels, start=1):
            gram = keys % self.vocabulary**n
            share = _look_up(level.grams, level.shares, gram, missing=0.0)
            left_over = _look_up(level.contexts, level.left_over, gram // self.vocabulary, missing=1.0)
            p = share + left_over * p
        return -np.log(p)

    def _keys(self, documents: Sequence[Sequence[int]]) -> Ints:
        """The n-gram that ends at every token but the first; the first is repeated to fill the earliest contexts."""
        return np.concatenate([self._document_keys(np.asarray(document, dtype=np.int64)) for document in documents])

    def _document_keys(self, document: Ints) -> Ints:
        padded = np.concatenate([np.repeat(document[:1], self.order - 2), document])
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.order)
        return windows @ (self.vocabulary ** np.arange(self.order - 1, -1, -1, dtype=np.int64))


def _level(grams: Ints, counts: Ints, vocabulary: int) -> _Level:
    contexts, context_of = np.unique(grams // vocabulary, return_inverse=True)
    discount = _discounts(counts)[np.minimum(counts, 3)]
    totals = np.bincount(context_of, weights=counts)
    left_over = np.bincount(context_of, weights=discount) / totals
    return _Level(grams, (counts - discount) / totals[context_of], contexts, left_over)


def _discounts(counts: Ints) -> Floats:
    """What to take off counts of (0,) 1, 2 and 3 or more; Chen and Goodman, equation 17."""
    n = np.bincount(np.minimum(counts, 5), minlength=5).astype(float)
    if not n[1:5].all():
        # Too little text for the estimate (a handful of distinct counts): absolute discounting by a half.
        return np.array([0.0, 0.5, 0.5, 0.5])
    y = n[1] / (n[1] + 2 * n[2])
    estimated = [c - (c + 1) * y * n[c + 1] / n[c] for c in (1, 2, 3)]
    return np.clip([0.0, *estimated], 0.0, [0.0, 1.0, 2.0, 3.0])


def _look_up(keys: Ints, values: Floats, wanted: Ints, missing: float) -> Floats:
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[index] == wanted, values[index], missing)
