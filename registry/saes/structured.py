"""Pruning that takes whole latents out, so that an SAE gets smaller and faster.

Latents are ranked by what they do on given activations, with a_ti the activation of latent i on token t:

    contribution:   mean_t a_ti * |W_dec[i]|        frequency:   share of tokens t with a_ti > 0

and the lowest go; `silent` takes out all that fire on no token. What is left is an SAE of its own, whose metadata says
in `kept_latents` which latents of the first SAE, the one that had them all, are left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .folder import quiet, ready

if TYPE_CHECKING:
    from sae_lens import SAE

_CHANNELS_ALONE = "b_dec"


def kept_latents(sae: SAE[Any]) -> Int[Tensor, " d_sae"]:
    """For each latent, its index in the SAE from which latents were first taken out; its own where none were.

    An SAE that was made from another without taking out latents (finetuned, pruned unstructured) has the base's.
    """
    noted = sae.cfg.metadata.kept_latents
    return torch.arange(sae.cfg.d_sae) if noted is None else torch.tensor(noted, dtype=torch.long)


def placed(sae: SAE[Any], d_sae: int, values: Float[Tensor, "row latent"]) -> Float[Tensor, "row latent_of_origin"]:
    """Values by latent at the places that the latents had before some were taken out, zeros in theirs.

    Args:
        d_sae: latents of the SAE from which they were taken out.
    """
    if values.shape[1] == d_sae:
        return values
    return values.new_zeros(len(values), d_sae).index_copy_(1, kept_latents(sae).to(values.device), values)


@torch.no_grad()
def narrowed(base: SAE[Any], kept: Int[Tensor, " kept"]) -> SAE[Any]:
    """A copy of `base` with only those latents, in their order; a larger k than there are latents is lowered."""
    described = {**base.cfg.to_dict(), "device": "meta", "d_sae": len(kept)}
    if hasattr(base.cfg, "k"):
        described["k"] = min(base.cfg.k, len(kept))
    with quiet():
        sae = type(base).from_dict(described)
    rows = kept.to(base.W_enc.device)
    weights = {
        name: weight.clone() if name == _CHANNELS_ALONE else weight.index_select(_latent_axis(name), rows)
        for name, weight in base.state_dict().items()
    }
    sae.load_state_dict(weights, assign=True)
    sae.cfg.metadata.kept_latents = kept_latents(base)[kept].tolist()
    return ready(sae.to(device=base.device))


def _latent_axis(name: str) -> int:
    return 1 if name == "W_enc" else 0


def highest(scores: Float[Tensor, " d_sae"], sparsity: float) -> Int[Tensor, " kept"]:
    """The latents that stay when the int(d_sae * sparsity) lowest scores go; of equal ones the first go."""
    order = scores.sort(stable=True).indices
    return order[int(len(scores) * sparsity) :].sort().values.cpu()
