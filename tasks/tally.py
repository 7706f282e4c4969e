"""Sums by document, in float64, over batches of any size."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .metric import UnitSums


class Tally:
    """Sums of named per-token values, one for each resampling unit.

    Adding is associative up to float64 rounding, so a figure does not depend on how the text was cut into batches.
    """

    def __init__(self, n_units: int) -> None:
        self._n_units = n_units
        self._sums: dict[str, Float[np.ndarray, " unit"]] = {}

    def add(self, name: str, values: Float[Tensor, " token"], unit: Int[Tensor, " token"]) -> None:
        """Add a batch of per-token values to the sums of the units they belong to."""
        sums = torch.bincount(unit, weights=values.double(), minlength=self._n_units).cpu().numpy()
        self._sums[name] = self._sums[name] + sums if name in self._sums else sums

    def sums(self) -> UnitSums:
        """All sums so far, `[unit]` each."""
        return dict(self._sums)
