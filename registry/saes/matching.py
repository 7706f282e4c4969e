"""Meeting a given L0, the mean number of active latents a token.

TopK and its relatives take it as their k. Elsewhere something is steered while training, from the L0 that every batch
shows, with e = log(L0 / target) between -1 and 1 and L0 averaged over some batches:

    standard, gated:  log c   +=  10 / steps * e       c the coefficient of the L1 penalty
    jumprelu:         theta_i +=  THRESHOLD_GAIN * e   for all thresholds alike, in units of the scaled activations

Changes are small, so that it ends near a fixed point of training; a search over c would have to train again for each c
that it tries. A JumpReLU's L0 follows the coefficient of its penalty too slowly for that (thresholds move by no more
than the learning rate in a step) but its thresholds at once; what they are to each other is left to training. A fresh
SAE, of which half the latents are active, is left to settle first: to steer it at once drives c up so far that a third
of the latents die.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from sae_lens import SAE, TrainingSAE
    from sae_lens.training.optim import CoefficientScheduler

_REACH = 10.0
"""How far the coefficient can be moved by a whole training: by a factor of e to the power of this."""
_MEMORY = 0.95
_THRESHOLD_GAIN, _THRESHOLD_MEMORY = 0.01, 0.8


@torch.no_grad()
def l0(sae: SAE[Any], x: Float[Tensor, "token d_in"]) -> float:
    """Active latents a token, on average."""
    active = sum(int((sae.encode(part) > 0).sum()) for part in x.to(sae.W_enc.device).split(2048))
    return active / x.shape[0]


class Controller:
    """Steers an SAE in training until its L0 is what it should be."""

    def __init__(self, target: float, steps: int, settling_steps: int) -> None:
        """Of a training of so many steps, of which the first ones are not steered."""
        self._target = target
        self._gain = _REACH / steps
        self._unsteered = settling_steps
        self._mean: float | None = None

    def steer(
        self, sae: TrainingSAE[Any], scheduler: CoefficientScheduler, latents: Float[Tensor, "batch d_sae"]
    ) -> None:
        """Change the thresholds, or the coefficient of the penalty, after a step in which these latents were seen."""
        threshold = getattr(sae, "threshold", None)
        memory = _MEMORY if threshold is None else _THRESHOLD_MEMORY
        seen = latents.count_nonzero().item() / latents.shape[0]
        self._mean = seen if self._mean is None else memory * self._mean + (1 - memory) * seen
        if self._unsteered > 0:
            self._unsteered -= 1
            return
        error = max(-1.0, min(1.0, math.log(max(self._mean, 1e-3) / self._target)))
        if threshold is None:
            scheduler.final_value *= math.exp(self._gain * error)
        else:
            threshold.data.add_(_THRESHOLD_GAIN * error).clamp_(min=0.0)

    def state_dict(self) -> dict[str, Any]:
        """What it remembers."""
        return {"mean": self._mean, "unsteered": self._unsteered}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._mean, self._unsteered = state["mean"], state["unsteered"]
