"""How an SAE that is trained from scratch starts and what becomes of it; `trainer.py` trains it.

What SAELens leaves open is set for small budgets (some hundred thousand tokens), where its defaults, made for a
thousand times more, leave most latents dead:

- Inputs are shifted by their mean (the first `b_dec`) and scaled so that the mean norm of what is left is sqrt(d_in),
  both estimated on the first tokens. SAELens scales by the norm of the raw activations, in which a large common
  offset, usual in residual streams, hides the variance there is to explain. Both are folded into the weights at the
  end, so an SAE of `a x + c` explains as much as one of `x`.
- The encoder starts as the decoder's transpose. Rows start at norm 0.1 as in SAELens, those of TopK and its relatives
  at norm 1: from 0.1 Adam's first steps are as large as the weights, and two to three times as many latents die.
- The learning rate falls with width as 1 / sqrt(d_sae) (the scaling of Gao et al., arXiv 2406.04093, appendix A.3;
  the factor 0.1 is ours). It warms up over the first 5 % and decays to zero over the last 30 % of the steps.
- A latent counts as dead, and TopK's auxiliary loss revives it, after 5 % of the steps without firing.
- The threshold that BatchTopK and matryoshka SAEs are read with is a running mean from 0 over, in SAELens, some hundred
  steps; here over no more than a tenth of the training, or short trainings would end with one far too low.
- Decoder norms are folded into the encoder: latents come in units of the activations and compare between SAEs.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RegistryError
from .entry import SaeEntry
from .folder import load_folder, quiet
from .trained import DEFAULT_COEFFICIENTS, SPARSITY, TrainedParams

if TYPE_CHECKING:
    from sae_lens import SAE, TrainingSAE

_WARM_UP = 0.05
_SETTLING = 0.2
_TOPK_DECODER_NORM = 1.0
_THRESHOLD_SPEED = 0.01
"""SAELens' default."""


@dataclass(frozen=True)
class Start:
    """An SAE at the start of its training."""

    sae: TrainingSAE[Any]
    """It reads activations times `scale`."""
    scale: float
    warm_up: float
    """Share of the steps over which the learning rate grows."""
    settling: float
    """Share of the steps before its penalty is steered to meet an L0."""


@dataclass(frozen=True)
class Fresh:
    """An SAE that is drawn from the seed alone."""

    entry: SaeEntry
    params: TrainedParams
    metadata: dict[str, Any]
    """What cfg.json shall say of its origin."""

    def start(self, head: Float[Tensor, "token d_in"], target: float | None) -> Start:
        """Centred and scaled as the first activations ask for.

        Args:
            target: the L0 to be met; None where the parameters say how sparse it is.

        Raises:
            RegistryError: the first activations are all the same.
        """
        mean, scale = mean_and_scale(head)
        with torch.random.fork_rng(devices=[]), quiet():
            torch.manual_seed(self.params.seed)
            sae = self._drawn(target)
        with torch.no_grad():
            sae.b_dec.copy_(mean * scale)
        return Start(sae, scale, _WARM_UP, _SETTLING)

    def shown(self, batch: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_in"]:
        """The activations as they are."""
        return batch

    def finish(self, sae: TrainingSAE[Any], scale: float, device: str | torch.device) -> SAE[Any]:
        """The plain SAE: scale and decoder norms folded, and everything that only training needs left behind."""
        sae.fold_activation_norm_scaling_factor(scale)
        with tempfile.TemporaryDirectory() as folder:
            sae.save_inference_model(folder)
            plain = load_folder(Path(folder), device)
        if plain.cfg.architecture() != "topk":  # its norms are folded when it is saved
            plain.fold_W_dec_norm()
        return plain

    def _drawn(self, target: float | None) -> TrainingSAE[Any]:
        from sae_lens import TrainingSAE

        entry = self.entry
        return TrainingSAE.from_dict(
            {
                "architecture": entry.architecture,
                "d_in": entry.d_in,
                "d_sae": entry.d_sae,
                "dtype": "float32",
                "normalize_activations": "expected_average_only_in",
                "reshape_activations": "hook_z" if entry.site.kind == "attn_z" else "none",
                "metadata": {"hook_name": entry.site.name, **self.metadata},
                **self._own(target),
            }
        )

    def _own(self, target: float | None) -> dict[str, Any]:
        """What only this architecture has."""
        params, sparsity = self.params, SPARSITY[self.entry.architecture]
        if sparsity != "k":
            warm_up = {sparsity.replace("coefficient", "warm_up_steps"): int(_WARM_UP * params.steps)}
            # Where an L0 is to be met, steering starts from the default.
            return {sparsity: getattr(params, sparsity) or DEFAULT_COEFFICIENTS[self.entry.architecture], **warm_up}
        k = params.k if target is None else min(max(1, round(target)), self.entry.d_sae)
        widths = params.matryoshka_widths
        nested = {} if widths is None else {"matryoshka_widths": list(widths)}
        # topk has no threshold, and leaves this out.
        speed = max(_THRESHOLD_SPEED, 10 / params.steps)
        return {"k": k, "decoder_init_norm": _TOPK_DECODER_NORM, "topk_threshold_lr": min(speed, 1.0), **nested}


def mean_and_scale(head: Float[Tensor, "token d_in"]) -> tuple[Float[Tensor, " d_in"], float]:
    """The mean of activations, and the factor by which the mean norm of what differs from it becomes sqrt(d_in).

    Raises:
        RegistryError: nothing differs from it.
    """
    mean = head.mean(dim=0)
    norm = (head - mean).norm(dim=1).mean().item()
    if norm == 0.0:
        raise RegistryError("All activations are the same: there is nothing for an SAE to learn.")
    return mean, math.sqrt(head.shape[1]) / norm
