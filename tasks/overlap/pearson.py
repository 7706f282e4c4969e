"""Pearson correlation of every latent between two states on the same tokens, from sums.

a_t is a latent on the dense state, b_t the same latent on the state under test, zeros included, over n tokens:

    r = (n sum ab - sum a sum b) / sqrt((n sum a^2 - (sum a)^2) (n sum b^2 - (sum b)^2))

Sums are float64 and are kept by block: document u belongs to block u % 32, so that documents can be resampled (in 32
groups at most) while memory grows neither with the text nor with the number of its documents. Latents are sparse, so
only those that are not 0 are ever looked at.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..firings import Firings, summed
from ..metric import Totals, UnitSums, Values

MOST_BLOCKS = 32
"""An even number, so that blocks halve the text as documents do."""

_SMALLEST_VARIANCE = 1e-12
"""As a share of the mean square. Cancellation in float64 leaves about 1e-16; below that a latent does not vary."""


class LatentSums:
    """Sums by block and latent of a latent on two states, over batches of any size."""

    def __init__(self, n_units: int, d_sae: int) -> None:
        self._n_blocks = min(n_units, MOST_BLOCKS)
        self._d_sae = d_sae
        self._sums: dict[str, Float[Tensor, " block_latent"]] = {}
        self._n_tokens: Float[Tensor, " block"] | float = 0.0
        self._dense_max: Float[Tensor, " d_sae"] | None = None

    def add(
        self,
        dense: Float[Tensor, "token d_sae"],
        dense_fired: Firings,
        state_fired: Firings,
        unit: Int[Tensor, " token"],
    ) -> Int[Tensor, " token"]:
        """Add a batch; gives how many latents fire on both states, by token."""
        block = unit % self._n_blocks
        self._n_tokens = self._n_tokens + torch.bincount(block, minlength=self._n_blocks).double()
        highest = dense.amax(dim=0)
        self._dense_max = highest if self._dense_max is None else torch.maximum(self._dense_max, highest)
        for side, fired in (("dense", dense_fired), ("state", state_fired)):
            key = block[fired.token] * self._d_sae + fired.latent
            self._add(f"{side}_sum", key, fired.value)
            self._add(f"{side}_squared", key, fired.value.square())
            self._add(f"{side}_firings", key)
        # In the order of the state's firings, so that a state against itself adds up the same numbers in every sum.
        counterpart = dense.reshape(-1)[state_fired.position]
        shared = counterpart != 0
        token = state_fired.token[shared]
        key = block[token] * self._d_sae + state_fired.latent[shared]
        self._add("product", key, state_fired.value[shared] * counterpart[shared].double())
        self._add("shared_firings", key)
        return torch.bincount(token, minlength=len(dense))

    def _add(self, name: str, key: Int[Tensor, " firing"], value: Float[Tensor, " firing"] | None = None) -> None:
        found = summed(key, value, self._n_blocks * self._d_sae)
        self._sums[name] = found if name not in self._sums else self._sums[name].add_(found)

    def sums(self) -> UnitSums:
        """All sums, `[block, latent]`, and the tokens of each block."""
        shape = (self._n_blocks, self._d_sae)
        by_latent = {name: values.cpu().numpy().reshape(shape) for name, values in self._sums.items()}
        return {"block_tokens": torch.as_tensor(self._n_tokens).cpu().numpy(), **by_latent}

    def dense_max(self) -> Float[np.ndarray, " d_sae"]:
        """The highest value of each latent on the dense state, float64."""
        assert self._dense_max is not None, "there is no batch"
        return self._dense_max.double().cpu().numpy()


def spread_of(total: Values, squared: Values, n_tokens: Values) -> Values:
    """Spread n sum x^2 - (sum x)^2 of every latent, `[..., latent]`; 0 where it is nothing but rounding."""
    spread = n_tokens * squared - np.square(total)
    return np.where(spread > _SMALLEST_VARIANCE * n_tokens * squared, spread, 0.0)


def correlation(totals: Totals) -> Float[np.ndarray, "... latent"]:
    """Correlation of every latent; NaN where it does not vary on the dense state, 0 where it does not on the other."""
    n = np.asarray(totals["block_tokens"])[..., None]
    dense = spread_of(totals["dense_sum"], totals["dense_squared"], n)
    state = spread_of(totals["state_sum"], totals["state_squared"], n)
    both = n * totals["product"] - totals["dense_sum"] * totals["state_sum"]
    spread = dense * state
    r = np.where(spread > 0, both, 0.0) / np.sqrt(np.where(spread > 0, spread, 1.0))
    return np.where(dense > 0, np.clip(r, -1.0, 1.0), np.nan)
