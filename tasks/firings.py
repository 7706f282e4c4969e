"""The latents that fire: few of many, so that counting them costs little beside finding them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Firings:
    """The latents of a batch that are not 0."""

    position: Int[Tensor, " firing"]
    """Where they stand in the flattened batch."""
    token: Int[Tensor, " firing"]
    latent: Int[Tensor, " firing"]
    value: Float[Tensor, " firing"]
    """float64."""
    n_tokens: int

    def by_token(self) -> Int[Tensor, " token"]:
        """How many latents fire on each token."""
        return torch.bincount(self.token, minlength=self.n_tokens)

    def total_by_token(self) -> Float[Tensor, " token"]:
        """The sum of the latents on each token."""
        return summed(self.token, self.value, self.n_tokens)


def firings(features: Float[Tensor, "token d_sae"]) -> Firings:
    """The latents that are not 0; NaN is not 0."""
    flat = features.reshape(-1)
    position = flat.nonzero().squeeze(1)
    token = position // features.shape[1]
    return Firings(position, token, position - token * features.shape[1], flat[position].double(), len(features))


def summed(key: Int[Tensor, " firing"], value: Float[Tensor, " firing"] | None, n_keys: int) -> Float[Tensor, " key"]:
    """Sums by key of values, or of ones, float64."""
    # Of nothing at all, torch counts in integers.
    return torch.bincount(key, weights=value, minlength=n_keys).double()
