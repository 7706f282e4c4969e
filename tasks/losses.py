"""Cross-entropy and Kullback-Leibler divergence by token, in nats, from float32 log-probabilities."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_CACHED_NUMBERS = 2**20


def cross_entropy_nats(
    log_probs: Float[Tensor, "row vocabulary"],
    rows: Int[Tensor, " token"],
    targets: Int[Tensor, " token"],
    scored: Bool[Tensor, " token"],
) -> Float[Tensor, " token"]:
    """-ln p(target); 0 where a token is not scored, so that sums need no mask.

    Args:
        rows: which row of `log_probs` belongs to each token.
    """
    losses = -log_probs[rows, targets]
    return torch.where(scored, losses, torch.zeros_like(losses))


def kl_nats(
    reference: Float[Tensor, "token vocabulary"],
    probabilities: Float[Tensor, "token vocabulary"],
    other: Float[Tensor, "row vocabulary"],
    rows: Int[Tensor, " token"],
) -> Float[Tensor, " token"]:
    """KL(reference || other) = sum_v p_v (ln p_v - ln q_v).

    From log-probabilities: `log(softmax)` would give NaN where a probability underflows to 0. What is summed is the
    difference, so that predictions that are close lose no digits and equal ones give exactly 0.

    Args:
        reference: ln p.
        probabilities: p, which several divergences from one reference share.
        other: ln q.
        rows: which row of `other` belongs to each token.
    """
    found = torch.empty(len(reference), device=reference.device)
    # A few tokens at a time, so that what is between two operations stays in a CPU's cache.
    size = len(reference) if reference.device.type == "cuda" else max(1, _CACHED_NUMBERS // reference.shape[1])
    for start in range(0, len(reference), max(size, 1)):
        tokens = slice(start, start + size)
        found[tokens] = torch.linalg.vecdot(probabilities[tokens], reference[tokens] - other[rows[tokens]])
    return found
