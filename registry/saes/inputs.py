"""What an SAE does to a token before it encodes it, and undoes to what it decodes.

SAELens' layer norm and constant norm belong to the token: encoding leaves its mean or norm behind in the SAE object,
and the next decoding takes that away. Two readings of different activations before a decoding would mix them up, so
here decoding is told which activations the latents came from.

An SAE that was trained on a centred residual stream is made to do the same: it takes off the mean over channels, and
puts it back. No weights can do that, since what is decoded would have to know the token. Whoever saves the SAE saves
it as it was trained: for a model loaded as its `model_from_pretrained_kwargs` say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from sae_lens import SAE

_WIDE, _FEW = 256, 0.01
"""Rows of at least that width, for at most that share of the latents: measured with 768 x 24,576, where it takes a
seventh of the time at 32 latents a token and as long as the dense product at 500."""


def reconstruct(
    sae: SAE[Any], latents: Float[Tensor, "*token d_sae"], activations: Float[Tensor, "*token d_in"]
) -> Float[Tensor, "*token d_in"]:
    """What the latents stand for, at the mean and the norm of the activations that they were encoded from."""
    sae.run_time_activation_norm_fn_in(activations.to(sae.dtype))
    return sae.decode(latents.to_sparse() if _are_few(latents, sae.W_dec) else latents)


def _are_few(latents: Float[Tensor, "*token d_sae"], decoder: Float[Tensor, "d_sae d_in"]) -> bool:
    """Whether a CPU multiplies the latents that fire with their rows faster than all latents with all rows."""
    if latents.device.type != "cpu" or latents.ndim != 2 or decoder.shape[1] < _WIDE:
        return False
    return int(latents.count_nonzero()) < _FEW * latents.numel()


def centre(sae: SAE[Any]) -> None:
    """Let the SAE take off the mean over channels before anything else, and put it back after everything else."""
    norm_in, norm_out = sae.run_time_activation_norm_fn_in, sae.run_time_activation_norm_fn_out
    if getattr(norm_in, "centres", False):
        return
    means: list[Tensor] = []

    def centred_in(x: Tensor) -> Tensor:
        mean = x.mean(dim=-1, keepdim=True)
        means[:] = [mean]
        return norm_in(x - mean)

    def centred_out(x: Tensor) -> Tensor:
        return norm_out(x) + means.pop()

    centred_in.centres = True  # type: ignore[attr-defined]
    sae.run_time_activation_norm_fn_in, sae.run_time_activation_norm_fn_out = centred_in, centred_out
