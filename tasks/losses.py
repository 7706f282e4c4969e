"""Cross-entropy and Kullback-Leibler divergence by token, in nats, from float32 log-probabilities."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def cross_entropy_nats(
    log_probs: Float[Tensor, "token vocabulary"], targets: Int[Tensor, " token"], scored: Bool[Tensor, " token"]
) -> Float[Tensor, " token"]:
    """-ln p(target); 0 where a token is not scored, so that sums need no mask."""
    losses = -log_probs.gather(1, targets[:, None]).squeeze(1)
    return torch.where(scored, losses, torch.zeros_like(losses))


def kl_nats(
    reference: Float[Tensor, "token vocabulary"],
    probabilities: Float[Tensor, "token vocabulary"],
    other: Float[Tensor, "token vocabulary"],
) -> Float[Tensor, " token"]:
    """KL(reference || other) = sum_v p_v (ln p_v - ln q_v).

    From log-probabilities: `log(softmax)` would give NaN where a probability underflows to 0. What is summed is the
    difference, so that predictions that are close lose no digits and equal ones give exactly 0.

    Args:
        reference: ln p.
        probabilities: p, which several divergences from one reference share.
        other: ln q.
    """
    return torch.linalg.vecdot(probabilities, reference - other)
