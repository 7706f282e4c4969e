"""SAEs finetuned: the training of a given SAE goes on for a moment, on other activations.

Latents keep who they are, index by index, so that they can be compared with the base's:

- training starts from the base's very weights, in its own units: only a common factor makes the activations as large
  as in a training from scratch, and it is taken back at the end;
- nothing revives latents that fell silent, since what comes back would be another feature;
- L0 stays near the base's: k stays, and the coefficients of L1 and L0 penalties are steered to meet the L0 that the
  base has on the same activations (`matching.py`).

An SAE that normalises its inputs by itself is trained on normalised activations, as it was in its first training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from .budget import Budget
from .entry import Origin, SaeEntry
from .folder import clone, quiet
from .forms import Count, Form, Positive, Seed
from .trained import DEFAULT_COEFFICIENTS, SPARSITY
from .training import Start, mean_and_scale

if TYPE_CHECKING:
    from sae_lens import SAE, TrainingSAE

_WARM_UP = 0.1
_IN_UNITS = ("b_enc", "b_gate", "b_mag", "b_dec", "threshold")
"""What is as large as the activations; W_enc, W_dec and r_mag have no unit."""


class FinetunedParams(Budget):
    """Everything that finetuning depends on beside the base and its activations."""

    tokens: Count = 50_000
    batch_size: Count = 256
    seed: Seed = 0
    recipe: Literal[1] = 1


class FinetunedForm(Form):
    """`{name, source: finetuned, base: NAME, on: state | dense, tokens, lr, ...}`."""

    source: Literal["finetuned"]
    base: str
    on: Origin = "state"
    tokens: Count = FinetunedParams.model_fields["tokens"].default
    lr: Positive | None = None
    """Adam's learning rate; a third of that of a training from scratch, 0.03 / sqrt(d_sae), unless said otherwise."""
    batch_size: Count = FinetunedParams.model_fields["batch_size"].default
    seed: Seed = FinetunedParams.model_fields["seed"].default

    @model_validator(mode="after")
    def _one_batch(self) -> FinetunedForm:
        if self.tokens < self.batch_size:
            raise ValueError(f"'tokens' ({self.tokens}) are fewer than one batch ('batch_size' {self.batch_size})")
        return self


def entry(form: FinetunedForm, base: SaeEntry) -> SaeEntry:
    """The entry of an SAE that goes on from `base`."""
    lr = form.lr or 0.03 / math.sqrt(base.d_sae)
    params = FinetunedParams(tokens=form.tokens, lr=lr, batch_size=form.batch_size, seed=form.seed)
    return replace(base, name=form.name, source="finetuned", on=form.on, base=base, params=params)


@dataclass(frozen=True)
class Continued:
    """A finished SAE that is trained on."""

    base: SAE[Any]
    params: FinetunedParams

    def start(self, head: Float[Tensor, "token d_in"], target: float | None) -> Start:  # noqa: ARG002
        """The base as SAELens trains it. What L0 it has is met by steering or by its k, never by its start."""
        _, scale = mean_and_scale(head)
        with torch.random.fork_rng(devices=[]), quiet():
            sae = self._trainable()
        weights = {name: weight.clone() for name, weight in self.base.state_dict().items()}
        sae.load_state_dict(_scaled(weights, scale))
        return Start(sae, scale, _WARM_UP, settling=0.0)

    def shown(self, batch: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_in"]:
        """Activations as the base normalises them."""
        return self.base.run_time_activation_norm_fn_in(batch)

    def finish(self, sae: TrainingSAE[Any], scale: float, device: str | torch.device) -> SAE[Any]:
        """The base with its new weights."""
        finetuned = clone(self.base)
        finetuned.load_state_dict(_scaled(dict(sae.state_dict()), 1 / scale))
        finetuned.cfg.metadata.finetuned = self.params.identity()
        return finetuned.to(device=torch.device(device))

    def _trainable(self) -> TrainingSAE[Any]:
        from sae_lens import TrainingSAE

        cfg = self.base.cfg
        architecture = cfg.architecture()
        kept = ("d_in", "d_sae", "apply_b_dec_to_input", "reshape_activations", "k", "rescale_acts_by_decoder_norm")
        own: dict[str, Any] = {name: getattr(cfg, name) for name in kept if hasattr(cfg, name)}
        if architecture == "topk":
            own["aux_loss_coefficient"] = 0.0
        else:
            own[SPARSITY[architecture]] = DEFAULT_COEFFICIENTS[architecture]
        metadata = {"hook_name": cfg.metadata.hook_name}
        described = {"architecture": architecture, "dtype": "float32", "device": "cpu", "metadata": metadata, **own}
        return TrainingSAE.from_dict(described)


@torch.no_grad()
def _scaled(weights: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    """The weights of an SAE whose activations, latents and reconstructions are all `factor` times as large."""
    return {name: weight * factor if name in _IN_UNITS else weight for name, weight in weights.items()}
