"""Cross-entropy and Kullback-Leibler divergence by token, in nats, from float32 log-probabilities."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_CACHED_NUMBERS = 2**20


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
    n_words, n_tokens = reference.shape
    found = torch.zeros(n_tokens, device=reference.device)
    # Some words at a time, so that what is between two operations stays in a CPU's cache.
    size = n_words if reference.device.type == "cuda" else max(1, _CACHED_NUMBERS // max(1, n_tokens))
    for start in range(0, n_words, size):
        words = slice(start, start + size)
        own = other[words] if columns is None else other[words].index_select(1, columns)
        found += ((reference[words] - own) * probabilities[words]).sum(dim=0)
    return found
