"""The negative control: an SAE that looks like another one and knows nothing of the model.

Architecture, widths, k, thresholds, biases and the norm of every encoder and decoder vector are those of `like`; each
latent's direction is drawn at random, one direction for its encoder and its decoder.

That is the fair control. Independent directions for the two would reconstruct nothing at all, and a freshly initialised
SAE would have other norms and biases: a metric could tell both from a real SAE without looking at what was learnt.
What is left to differ is which directions the latents have. With standard, gated and jumprelu SAEs the number of
active latents differs too, since it follows from directions; with topk it is k.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from .entry import Params, SaeEntry
from .folder import clone
from .forms import Form, Seed

if TYPE_CHECKING:
    from sae_lens import SAE


class RandomParams(Params):
    """What decides the directions."""

    seed: Seed = 0


class RandomForm(Form):
    """`{name, source: random, like: NAME, seed}`."""

    source: Literal["random"]
    like: str
    seed: Seed = 0


def entry(form: RandomForm, like: SaeEntry) -> SaeEntry:
    """The entry of a random SAE like another one."""
    return replace(like, name=form.name, source="random", on=None, base=like, params=RandomParams(seed=form.seed))


@torch.no_grad()
def randomise(like: SAE[Any], seed: int) -> SAE[Any]:
    """A copy of `like` whose latents point in random directions, without touching the global random state."""
    sae = clone(like)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(sae.cfg.d_sae, sae.cfg.d_in, generator=generator)
    directions = (drawn / drawn.norm(dim=1, keepdim=True)).to(sae.W_dec)
    sae.W_dec.copy_(directions * like.W_dec.norm(dim=1, keepdim=True))
    sae.W_enc.copy_(directions.T * like.W_enc.norm(dim=0, keepdim=True))
    sae.cfg.metadata.randomised = {"seed": seed}
    return sae
