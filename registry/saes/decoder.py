"""What an SAE writes: effective decoder rows, and the scale at which it writes each token.

    reconstruction_t = s_t * (sum_i f_ti D_i + b),    D = decoder rows, s_t = scale of token t

D is `W_dec`, whose rows are divided by their norms where SAELens rescales latents by them (TopK SAEs with
`rescale_acts_by_decoder_norm`). s_t is 1 unless the SAE normalises every token by its own norm (`layer_norm`,
`constant_norm_rescale`); SAELens keeps it between `encode` and `decode`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from sae_lens import SAE


def decoder_rows(sae: SAE[Any]) -> Float[Tensor, "d_sae d_in"]:
    """What one unit of each latent adds to the activations of a token of scale 1, float32."""
    rows = sae.W_dec.detach().float()
    if not getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        return rows
    return rows / rows.norm(dim=1, keepdim=True)


def encode_scaled(
    sae: SAE[Any], activations: Float[Tensor, "token d_in"]
) -> tuple[Float[Tensor, "token d_sae"], Float[Tensor, "token 1"] | None]:
    """Latents, float32, and the scale at which the decoder would write each token; None where that is 1."""
    features = sae.encode(activations).float()
    if sae.cfg.normalize_activations == "layer_norm":
        return features, torch.as_tensor(sae.ln_std).float()
    if sae.cfg.normalize_activations == "constant_norm_rescale":
        return features, 1.0 / torch.as_tensor(sae.x_norm_coeff).float()
    return features, None
