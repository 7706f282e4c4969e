"""SAEs pruned without training: Wanda on the SAE itself, as arXiv 2507.15977 asks for, and magnitude pruning.

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

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import AfterValidator, model_validator
from torch import Tensor

from .entry import Origin, Params, SaeEntry
from .folder import clone
from .forms import Count, Form, Number
from .stream import Activations, take

if TYPE_CHECKING:
    from sae_lens import SAE


def _in_range(share: float) -> float:
    """A message that says what both ends of the range would mean."""
    if not 0 <= share < 1:
        raise ValueError("the share of weights to zero is from 0 (nothing) up to, but not including, 1 (everything)")
    return share


Sparsity = Annotated[Number, AfterValidator(_in_range)]


class PrunedParams(Params):
    """What decides which weights go."""

    method: Literal["wanda", "magnitude"]
    sparsity: Sparsity
    """Share of zeros within every comparison group."""
    tokens: Count | None
    """Tokens over which Wanda's norms are summed; None for magnitude, which reads no activations."""


class PrunedForm(Form):
    """`{name, source: pruned, base: NAME, method: wanda | magnitude, sparsity, on: state | dense}`."""

    source: Literal["pruned"]
    base: str
    method: Literal["wanda", "magnitude"]
    sparsity: Sparsity
    on: Origin | None = None
    """Whose activations Wanda reads; `state` unless said otherwise."""
    tokens: Count | None = None
    """Calibration tokens of Wanda; 32,768 unless said otherwise."""

    @model_validator(mode="after")
    def _nothing_to_read(self) -> PrunedForm:
        if self.method == "magnitude" and (self.on is not None or self.tokens is not None):
            raise ValueError("magnitude pruning reads no activations: leave out 'on' and 'tokens'")
        return self


def entry(form: PrunedForm, base: SaeEntry) -> SaeEntry:
    """The entry of an SAE that is to be pruned from `base`."""
    wanda = form.method == "wanda"
    params = PrunedParams(method=form.method, sparsity=form.sparsity, tokens=(form.tokens or 32_768) if wanda else None)
    on = (form.on or "state") if wanda else None
    return replace(base, name=form.name, source="pruned", on=on, base=base, params=params)


@torch.no_grad()
def prune(base: SAE[Any], params: PrunedParams, activations: Activations | None) -> SAE[Any]:
    """A pruned copy of `base`, which stays as it is. At sparsity 0 it is equal to the bit.

    Args:
        activations: chunks `[token, d_in]` of valid tokens, possibly endless; not read by `magnitude`.

    Raises:
        RegistryError: the activations end before `params.tokens` are reached, or have another width.
    """
    sae = clone(base)
    if params.sparsity > 0 and getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        # Here the decoder's norms decide which latents are active: once folded, pruning leaves the ranking alone.
        sae.fold_W_dec_norm()
        sae.cfg.rescale_acts_by_decoder_norm = False
    encoder_scores, decoder_scores = sae.W_enc.abs().float(), sae.W_dec.abs().float()
    if params.method == "wanda":
        if activations is None or params.tokens is None:
            raise TypeError("Wanda needs activations")
        input_norms, latent_norms = _norms(sae, take(activations, params.tokens, sae.cfg.d_in))
        encoder_scores = encoder_scores * input_norms[:, None]
        decoder_scores = decoder_scores * latent_norms[:, None]
    sae.W_enc.masked_fill_(lowest(encoder_scores, params.sparsity), 0.0)
    sae.W_dec.masked_fill_(lowest(decoder_scores, params.sparsity), 0.0)
    sae.cfg.metadata.pruned = params.identity()
    return sae


def lowest(scores: Float[Tensor, "input output"], sparsity: float) -> Bool[Tensor, "input output"]:
    """Where the int(inputs * sparsity) lowest scores of every output are; of equal ones, the first inputs."""
    n_zeros = int(scores.shape[0] * sparsity)
    order = scores.sort(dim=0, stable=True).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(0, order[:n_zeros], True)


def _norms(sae: SAE[Any], activations: Activations) -> tuple[Float[Tensor, " d_in"], Float[Tensor, " d_sae"]]:
    """Over all tokens: the norm of each channel as the encoder sees it, and of each latent as the decoder does."""
    device = sae.W_enc.device
    inputs = torch.zeros(sae.cfg.d_in, dtype=torch.float64, device=device)
    latents = torch.zeros(sae.cfg.d_sae, dtype=torch.float64, device=device)
    for chunk in activations:
        # Latents are wide: a few thousand tokens at once keep them small next to the SAE.
        for part in chunk.to(device).split(2048):
            inputs += sae.process_sae_in(part).double().square().sum(dim=0)
            latents += sae.encode(part).double().square().sum(dim=0)
    return inputs.sqrt().float(), latents.sqrt().float()
