"""Counting what a matrix is made of: distinct levels of its groups, and zeros."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_CHUNK = 2**22


def max_levels(weight: Float[Tensor, "out in"], group_size: int | None, tolerance: float = 0.0) -> int:
    """Distinct values in the group that has most; groups run along the flattened matrix, None is a row.

    Args:
        tolerance: values closer together than this share of the group's largest magnitude count as one level. That
            may make the count too small where levels lie as close as rounding errors, and never too large.
    """
    size = group_size or weight.shape[1]
    flat = weight.reshape(-1)
    # A last group that is not full repeats its own last value, which adds no level.
    flat = torch.cat([flat, flat[-1:].expand(-flat.numel() % size)])
    most = 0
    for groups in flat.view(-1, size).split(max(1, _CHUNK // size)):
        # numpy's sort gives no indices and is some twenty times faster than torch's on a CPU.
        ordered = np.sort(groups.float().cpu().numpy(), axis=1)
        gap = tolerance * np.abs(ordered).max(axis=1, keepdims=True)
        most = max(most, 1 + int((ordered[:, 1:] - ordered[:, :-1] > gap).sum(axis=1).max()))
    return most


def share_of_zeros(weight: Tensor) -> float:
    """Share of exact zeros."""
    return 1 - int(weight.count_nonzero()) / weight.numel()
