"""Which weights to prune: the lowest scores of each group, by count, and N:M patterns.

A count, not a threshold, decides: ties are common in half precision, and a threshold prunes all of them at once.
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field, StringConstraints
from torch import Tensor

from ...errors import Impossible
from ..linear import LinearLayer
from ..promise import Zeros

Share = Annotated[float, Field(gt=0, lt=1, description="share of weights set to zero")]
Pattern = Annotated[
    str, StringConstraints(pattern=r"^[1-9]\d*:[1-9]\d*$"), Field(description="N:M, as in 2:4: N of M inputs are kept")
]
BlockShares = Annotated[list[Share], Field(min_length=1, description="the share of each block, first to last")]
Sparsity = Share | Pattern | BlockShares
"""A share of all weights; an N:M pattern as text (`"2:4"`): of any M consecutive inputs of a row, N are kept; or a list
of one share for each block."""


def lowest(score: Float[Tensor, "row column"], count: int) -> Bool[Tensor, "row column"]:
    """The mask of exactly `count` smallest scores in each row; of equal ones the first, as in a stable sort."""
    if count == 0:
        return torch.zeros_like(score, dtype=torch.bool)
    threshold = score.kthvalue(count, dim=1, keepdim=True).values
    below = score < threshold
    ties = score == threshold
    wanted = count - below.sum(dim=1, keepdim=True)
    return below | (ties & (ties.cumsum(dim=1) <= wanted))


def parse_pattern(sparsity: object) -> tuple[int, int] | None:
    """N and M of an N:M pattern; None where the sparsity is a number or a list."""
    if not isinstance(sparsity, str):
        return None
    kept, size = (int(part) for part in sparsity.split(":"))
    return kept, size


def lowest_in_groups(score: Float[Tensor, "row column"], pattern: tuple[int, int]) -> Bool[Tensor, "row column"]:
    """The mask that leaves, of each M consecutive scores of a row, the N largest."""
    kept, size = pattern
    return lowest(score.reshape(-1, size), size - kept).view_as(score)


def refuse_odd_widths(layers: list[LinearLayer], pattern: tuple[int, int]) -> None:
    """Say where an N:M pattern cannot be had.

    Raises:
        Impossible: M does not divide the inputs of some layer.
    """
    kept, size = pattern
    odd = [layer for layer in layers if layer.shape[1] % size]
    if odd:
        raise Impossible(
            f"The pattern {kept}:{size} needs a multiple of {size} inputs; {odd[0].name} has {odd[0].shape[1]} "
            f"({len(odd)} such layers)."
        )


def zeros_of(sparsity: object) -> Zeros:
    """What a sparsity, as it stands in a suite, promises."""
    pattern = parse_pattern(sparsity)
    if pattern is not None:
        kept, size = pattern
        return Zeros(1 - kept / size, pattern=pattern)
    if isinstance(sparsity, list):
        return Zeros(sum(sparsity) / len(sparsity), by_block=tuple(sparsity))
    if not isinstance(sparsity, float):
        raise TypeError(f"a sparsity is a share, a pattern or a list of shares, got {sparsity!r}")
    return Zeros(sparsity)
