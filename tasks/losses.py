"""Cross-entropy and Kullback-Leibler divergence by token, in nats, from float32 log-probabilities.

Words come first, and tokens lie side by side. Some words are taken at a time, so that what is between two operations
stays in a CPU's cache.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_CACHED_NUMBERS = 2**20


def log_probabilities(logits: Float[Tensor, "vocabulary token"]) -> Float[Tensor, "vocabulary token"]:
    """Logarithms of softmax: z - max z - ln sum_v exp(z_v - max z), written over the logits where those are in float32.

    PyTorch's `log_softmax` along a dimension that is not the last adds up the words one by one, which over a vocabulary
    of 50,000 costs three digits.
    """
    found = logits.float()
    found -= found.amax(dim=0)
    total = torch.zeros(found.shape[1], device=found.device)
    for words in _blocks(found):
        total += found[words].exp().sum(dim=0)
    found -= total.log()
    return found


def cross_entropy_nats(
    log_probs: Float[Tensor, "vocabulary column"],
    columns: Int[Tensor, " token"],
    targets: Int[Tensor, " token"],
    scored: Bool[Tensor, " token"],
) -> Float[Tensor, " token"]:
    """-ln p(target); 0 where a token is not scored, so that sums need no mask.

    Args:
        columns: which column of `log_probs` belongs to each token.
    """
    losses = -log_probs[targets, columns]
    return torch.where(scored, losses, torch.zeros_like(losses))


def kl_nats(
    reference: Float[Tensor, "vocabulary token"],
    probabilities: Float[Tensor, "vocabulary token"],
    other: Float[Tensor, "vocabulary column"],
    columns: Int[Tensor, " token"] | None,
) -> Float[Tensor, " token"]:
    """KL(reference || other) = sum_v p_v (ln p_v - ln q_v).

    From log-probabilities: `log(softmax)` would give NaN where a probability underflows to 0. What is summed is the
    difference, so that predictions that are close lose no digits and equal ones give exactly 0.

    Args:
        reference: ln p.
        probabilities: p, which several divergences from one reference share.
        other: ln q.
        columns: which column of `other` belongs to each token; None where each token has its own.
    """
    found = torch.zeros(reference.shape[1], device=reference.device)
    for words in _blocks(reference):
        own = other[words] if columns is None else other[words].index_select(1, columns)
        found += ((reference[words] - own) * probabilities[words]).sum(dim=0)
    return found


def _blocks(numbers: Float[Tensor, "vocabulary token"]) -> Iterator[slice]:
    """Of words; one for all of them on a GPU."""
    n_words, n_tokens = numbers.shape
    size = n_words if numbers.device.type == "cuda" else max(1, _CACHED_NUMBERS // max(1, n_tokens))
    return (slice(start, start + size) for start in range(0, n_words, size))
