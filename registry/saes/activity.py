"""What an SAE's latents, and the channels that it reads, do on a stream of activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from .stream import Blocks

if TYPE_CHECKING:
    from sae_lens import SAE

_BLOCK = 2048
"""Latents are wide: a few thousand tokens at once keep them small next to the SAE."""


class Activity:
    """Sums over tokens, in float64."""

    def __init__(self, sae: SAE[Any]) -> None:
        """Of an SAE on activations that are still to come."""
        self._sae = sae
        self._blocks = Blocks(_BLOCK)
        d_in, d_sae, device = sae.cfg.d_in, sae.cfg.d_sae, sae.W_enc.device
        self._tokens = 0
        self._input_squares = torch.zeros(d_in, dtype=torch.float64, device=device)
        self._squares, self._sums, self._fired = torch.zeros(3, d_sae, dtype=torch.float64, device=device)

    def feed(self, chunk: Float[Tensor, "token d_in"]) -> None:
        """Add some activations."""
        for block in self._blocks.feed(chunk):
            self._add(block)

    def close(self) -> None:
        """Add what filled no block; there is nothing to add afterwards."""
        for block in self._blocks.rest():
            self._add(block)

    @torch.no_grad()
    def _add(self, block: Float[Tensor, "token d_in"]) -> None:
        block = block.to(self._input_squares.device)
        latents = self._sae.encode(block).double()
        self._input_squares += self._sae.process_sae_in(block).double().square().sum(dim=0)
        self._squares += latents.square().sum(dim=0)
        self._sums += latents.sum(dim=0)
        self._fired += (latents > 0).sum(dim=0)
        self._tokens += block.shape[0]

    def input_norms(self) -> Float[Tensor, " d_in"]:
        """The norm, over all tokens, of each channel as the encoder sees it."""
        return self._input_squares.sqrt().float()

    def latent_norms(self) -> Float[Tensor, " d_sae"]:
        """The norm, over all tokens, of each latent as the decoder sees it."""
        return self._squares.sqrt().float()

    def means(self) -> Float[Tensor, " d_sae"]:
        """The mean of each latent."""
        return (self._sums / self._tokens).float()

    def frequencies(self) -> Float[Tensor, " d_sae"]:
        """The share of tokens on which each latent fires."""
        return (self._fired / self._tokens).float()
