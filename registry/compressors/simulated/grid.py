"""Uniform grids: the levels that a group of weights, or a row of them, may take.

With `q` an integer and `s` the scale of the group, a weight becomes `s * q`:

- symmetric: `s = max|w| / (2^(bits-1) - 1)`, `q = round(w / s)`: `2^bits - 1` levels around zero (three at 2 bits);
- asymmetric: `s = (max(w, 0) - min(w, 0)) / (2^bits - 1)`, `z = round(-min(w, 0) / s)`,
  `q = clamp(round(w / s) + z, 0, 2^bits - 1) - z`: all `2^bits` levels.

Either way zero is on the grid, so a pruned weight stays pruned, and no weight of the group that the grid was fitted to
moves by more than half a step. Computed in float32. Sizes count a scale as 16 bits, as deployed formats store it; it is
not rounded to 16 bits here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from ..promise import Promise

Bits = Annotated[int, Field(ge=2, le=8)]
GroupSize = Annotated[int, Field(ge=2)] | None
"""Number of consecutive inputs that share a scale; None for a whole row."""
SCALE_BITS = 16


@dataclass(frozen=True)
class Grid:
    """The grids of some groups, one a row."""

    scale: Float[Tensor, "group 1"]
    lowest: Float[Tensor, "group 1"] | int
    """The smallest q."""
    highest: Float[Tensor, "group 1"] | int

    @classmethod
    def fit(cls, groups: Float[Tensor, "group weight"], bits: int, symmetric: bool) -> Grid:
        """The grid that just spans each group."""
        return cls.spanning(groups.amin(dim=1, keepdim=True), groups.amax(dim=1, keepdim=True), bits, symmetric)

    @classmethod
    def spanning(
        cls, low: Float[Tensor, "group 1"], high: Float[Tensor, "group 1"], bits: int, symmetric: bool
    ) -> Grid:
        """The grid from `low` to `high`, and zero."""
        low, high = low.clamp(max=0), high.clamp(min=0)
        if symmetric:
            top = 2 ** (bits - 1) - 1
            return cls(_or_one(torch.maximum(-low, high) / top), -top, top)
        top = 2**bits - 1
        scale = _or_one((high - low) / top)
        zero_point = (-low / scale).round()
        return cls(scale, -zero_point, top - zero_point)

    def snap(self, groups: Float[Tensor, "group weight"]) -> Float[Tensor, "group weight"]:
        """The nearest levels."""
        steps = (groups / self.scale).round()
        return self.scale * torch.maximum(torch.minimum(steps, self._limit(self.highest)), self._limit(self.lowest))

    def _limit(self, limit: Float[Tensor, "group 1"] | int) -> Tensor:
        return limit if isinstance(limit, Tensor) else self.scale.new_full((), limit)

    def __getitem__(self, groups: Tensor | slice) -> Grid:
        """The grids of some of the groups."""
        limits = [limit[groups] if isinstance(limit, Tensor) else limit for limit in (self.lowest, self.highest)]
        return Grid(self.scale[groups], *limits)


def grid_promise(bits: int, group_size: int | None, symmetric: bool, *, scaled_inputs: bool = False) -> Promise:
    """What rounding to such a grid promises."""
    overhead = SCALE_BITS + (0 if symmetric else bits)
    return Promise(
        bits=bits, group_size=group_size, overhead_bits=overhead, adds_zeros=True, scaled_inputs=scaled_inputs
    )


def _or_one(scale: Float[Tensor, "group 1"]) -> Float[Tensor, "group 1"]:
    """A group of zeros has no scale; any will do."""
    return torch.where(scale == 0, torch.ones_like(scale), scale)
