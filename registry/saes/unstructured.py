"""Pruning that sets weights of an SAE to zero: Wanda on the SAE itself, as arXiv 2507.15977 asks for, and magnitude.

A linear map's weight from input i to output j is scored by

    wanda:      |W_ij| * sqrt(sum_t x_ti^2)        magnitude:      |W_ij|

and in the comparison group of every output j the int(n_inputs * sparsity) lowest scores become zero. For an SAE:

- encoder: output = latent, inputs = the d_in channels as the encoder matrix sees them, that is after the SAE's own
  normalisation and after `b_dec` was subtracted;
- decoder: output = channel, inputs = the d_sae latents, x = their activations (after k, thresholds and gates).

Both norms are sums over the same tokens in float64; ranks are those of a stable sort in float32. Biases, thresholds and
k stay. A gated SAE has one encoder matrix for both paths, `W_enc` and `W_enc * exp(r_mag)`: `r_mag` scales whole
latents, never ranks within one, so one mask serves both.

The paper's repository scores with the norms of *outputs* instead (pre-activations for `W_enc`, reconstructions for
`W_dec`, averaged over batches with their padding) and ranks the weights of one input across outputs. Wanda's formula
(arXiv 2306.11695, section 3) takes the norms of inputs and ranks within each output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .folder import clone

if TYPE_CHECKING:
    from sae_lens import SAE


@torch.no_grad()
def masked(
    base: SAE[Any],
    sparsity: float,
    input_norms: Float[Tensor, " d_in"] | None = None,
    latent_norms: Float[Tensor, " d_sae"] | None = None,
) -> SAE[Any]:
    """A copy of `base` with zeros; equal to the bit at sparsity 0.

    Args:
        input_norms: of the encoder's inputs, for Wanda; None for magnitude.
        latent_norms: of the decoder's inputs.
    """
    sae = rankable(base) if sparsity > 0 else clone(base)
    encoder_scores, decoder_scores = sae.W_enc.abs().float(), sae.W_dec.abs().float()
    if input_norms is not None and latent_norms is not None:
        encoder_scores = encoder_scores * input_norms[:, None]
        decoder_scores = decoder_scores * latent_norms[:, None]
    sae.W_enc.masked_fill_(lowest(encoder_scores, sparsity), 0.0)
    sae.W_dec.masked_fill_(lowest(decoder_scores, sparsity), 0.0)
    return sae


@torch.no_grad()
def rankable(base: SAE[Any]) -> SAE[Any]:
    """A copy of `base` whose latents do not depend on its decoder.

    Where the decoder's norms decide which latents are active they are folded, so that pruning leaves the ranking alone.
    """
    sae = clone(base)
    if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        sae.fold_W_dec_norm()
        sae.cfg.rescale_acts_by_decoder_norm = False
    return sae


def lowest(scores: Float[Tensor, "input output"], sparsity: float) -> Bool[Tensor, "input output"]:
    """Where the int(inputs * sparsity) lowest scores of every output are; of equal ones, the first inputs."""
    n_zeros = int(scores.shape[0] * sparsity)
    order = scores.sort(dim=0, stable=True).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(0, order[:n_zeros], True)
