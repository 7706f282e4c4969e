"""How many tokens of a batch, and how many words, are taken at a time where tensors have both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

_MOST_TOKENS = {"cpu": 1024, "cuda": 8192}
"""Weights are read once for so many."""
_NUMBERS = {"cpu": 2**20, "cuda": 2**24}
"""In one tensor; on a CPU it stays in the cache."""
_WHOLE_NUMBERS = 2**22
"""In one tensor that holds all words of some tokens."""
_MULTIPLE = 16
"""Of tokens: with other numbers of them, products are a third slower."""


def chunks(position: Int[Tensor, " token"], n_words: int, by_block: bool) -> Iterator[Int[Tensor, " chunk"]]:
    """Which tokens are predicted together: in the order of their positions, in the fewest chunks of about equal size.

    Args:
        position: of each token in its window.
        n_words: size of the vocabulary.
        by_block: whether logits can be made for some words at a time.
    """
    most = _MOST_TOKENS[_kind(position.device)]
    at_once = most if by_block else max(1, min(most, _WHOLE_NUMBERS // n_words))
    n_chunks = max(1, -(-len(position) // at_once))
    size = -(-len(position) // n_chunks // _MULTIPLE) * _MULTIPLE
    yield from position.argsort(stable=True).split(max(1, size))


def blocks(n_words: int, n_tokens: int, device: torch.device) -> Iterator[slice]:
    """The words, some at a time."""
    size = max(1, min(n_words, _NUMBERS[_kind(device)] // max(1, n_tokens)))
    return (slice(start, min(start + size, n_words)) for start in range(0, n_words, size))


def _kind(device: torch.device) -> str:
    return "cuda" if device.type == "cuda" else "cpu"


class Room:
    """Memory for one tensor after the other; what is in it is lost with the next one.

    Taken anew each time, it would now and then come from the system, which clears it first.
    """

    def __init__(self, device: torch.device) -> None:
        self._numbers = torch.empty(0, device=device)

    def of(self, shape: Sequence[int]) -> Float[Tensor, "word column"]:
        """Room for a tensor in float32; whatever is in it."""
        size = math.prod(shape)
        if self._numbers.numel() < size:
            self._numbers = torch.empty(size, device=self._numbers.device)
        return self._numbers[:size].view(*shape)
