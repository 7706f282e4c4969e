"""Definitions of SAEs that are trained from scratch; `training.py` trains them."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import model_validator

from ..errors import RegistryError, unknown
from .entry import Origin, Params, SaeEntry
from .forms import Count, Form, Positive, Seed, Surroundings

ARCHITECTURES = ("standard", "gated", "topk", "batchtopk", "jumprelu")
RECIPE = 1
"""Version of what `training.py` does beyond its parameters; it is part of every trained SAE's identity."""

_SPARSITY: dict[str, str] = {
    "standard": "l1_coefficient",
    "gated": "l1_coefficient",
    "topk": "k",
    "batchtopk": "k",
    "jumprelu": "l0_coefficient",
}
"""The one parameter by which each architecture's sparsity is set."""
_DEFAULT_COEFFICIENTS = {"standard": 1.0, "gated": 1.0, "jumprelu": 0.3}


class TrainedParams(Params):
    """Everything that a training depends on beside its activations."""

    k: Count | None = None
    """Active latents a token (topk; on average over a batch for batchtopk)."""
    l1_coefficient: Positive | None = None
    """Weight of the L1 penalty (standard, gated), for inputs scaled as in `training.py`."""
    l0_coefficient: Positive | None = None
    """Weight of the L0 penalty (jumprelu), for inputs scaled as in `training.py`."""
    tokens: Count = 200_000
    lr: Positive
    batch_size: Count = 256
    seed: Seed = 0
    recipe: Literal[1] = RECIPE


class TrainedForm(Form):
    """`{name, source: trained, on, site, architecture, d_sae, k | l1_coefficient | l0_coefficient, ...}`.

    `like: NAME` takes site, architecture, widths, sparsity and BOS from an earlier SAE; what is given beside it wins.
    """

    source: Literal["trained"]
    on: Origin
    like: str | None = None
    site: str | None = None
    architecture: str | None = None
    d_sae: Count | None = None
    prepend_bos: bool | None = None
    context_size: Count | None = None
    k: Count | None = None
    l1_coefficient: Positive | None = None
    l0_coefficient: Positive | None = None
    tokens: Count = TrainedParams.model_fields["tokens"].default
    lr: Positive | None = None
    """Adam's learning rate; 0.1 / sqrt(d_sae) unless said otherwise."""
    batch_size: Count = TrainedParams.model_fields["batch_size"].default
    seed: Seed = TrainedParams.model_fields["seed"].default

    @model_validator(mode="after")
    def _whole(self) -> TrainedForm:
        missing = [key for key in ("site", "architecture", "d_sae") if getattr(self, key) is None]
        if self.like is None and missing:
            raise ValueError(f"a trained SAE needs {', '.join(missing)}, or `like` and the name of an earlier SAE")
        if self.tokens < self.batch_size:
            raise ValueError(f"'tokens' ({self.tokens}) are fewer than one batch ('batch_size' {self.batch_size})")
        return self


def entry(form: TrainedForm, around: Surroundings, like: SaeEntry | None) -> SaeEntry:
    """The entry of an SAE to be trained.

    Raises:
        RegistryError: an unknown architecture or site, or a sparsity parameter of another architecture.
    """
    site = around.site(form.site, form.name) if form.site is not None else _of(like).site
    architecture = form.architecture or _trained_as(_of(like))
    if architecture not in ARCHITECTURES:
        raise RegistryError(f"SAE '{form.name}': {unknown('architecture to train', architecture, ARCHITECTURES)}")
    width = site.width(around.config)
    prepend_bos, context_size = form.prepend_bos, form.context_size
    if prepend_bos is None:
        prepend_bos = around.prepend_bos_default if like is None else like.prepend_bos
    if context_size is None and like is not None:
        context_size = like.context_size
    d_sae = form.d_sae or _of(like).d_sae
    params = TrainedParams(
        **_sparsity(form, architecture, d_sae, like),
        lr=form.lr or 0.1 / math.sqrt(d_sae),
        tokens=form.tokens,
        batch_size=form.batch_size,
        seed=form.seed,
    )
    return SaeEntry(
        form.name, "trained", site, width, d_sae, architecture, prepend_bos, context_size, form.on, None, params
    )


def _of(like: SaeEntry | None) -> SaeEntry:
    """`like`, where the form has made sure that there is one."""
    if like is None:
        raise TypeError("a trained SAE without `like` has site, architecture and d_sae of its own")
    return like


def _trained_as(like: SaeEntry) -> str:
    """The architecture in training of an SAE: one that is read as `jumprelu` was often trained as `batchtopk`."""
    root = _root(like)
    return getattr(root.params, "trained_as", root.architecture)


def _root(like: SaeEntry) -> SaeEntry:
    """The SAE that others were pruned from or drawn after: the one that was trained."""
    while like.base is not None:
        like = like.base
    return like


def _sparsity(form: TrainedForm, architecture: str, d_sae: int, like: SaeEntry | None) -> dict[str, Any]:
    """The architecture's own sparsity parameter: given, copied from `like`, or the default."""
    own = _SPARSITY[architecture]
    for key in sorted(set(_SPARSITY.values()) - {own}):
        if getattr(form, key) is not None:
            raise RegistryError(f"SAE '{form.name}': '{key}' means nothing to {architecture}; its sparsity is '{own}'.")
    value = getattr(form, own)
    if value is None and like is not None and architecture == _trained_as(like):
        value = getattr(_root(like).params, own, None)
    if value is None:
        value = _DEFAULT_COEFFICIENTS.get(architecture)
    if value is None:
        raise RegistryError(f"SAE '{form.name}': a {architecture} SAE needs 'k', the number of active latents a token.")
    if own == "k" and value > d_sae:
        raise RegistryError(f"SAE '{form.name}': 'k' is {value}, but there are only {d_sae} latents (d_sae).")
    return {own: value}
