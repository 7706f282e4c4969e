"""Definitions of SAEs that are trained from scratch; `training.py` trains them."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import model_validator

from ..errors import RegistryError, unknown
from ..sites import Site
from .budget import Budget
from .entry import Origin, SaeEntry
from .forms import Count, Form, Positive, Seed, Surroundings

RECIPE = 2
"""Version of what `training.py` does beyond its parameters; it is part of every trained SAE's identity."""

SPARSITY: dict[str, str] = {
    "standard": "l1_coefficient",
    "gated": "l1_coefficient",
    "topk": "k",
    "batchtopk": "k",
    "matryoshka_batchtopk": "k",
    "jumprelu": "l0_coefficient",
}
"""The one parameter by which each architecture's sparsity is set."""
ARCHITECTURES = tuple(SPARSITY)
DEFAULT_COEFFICIENTS = {"standard": 1.0, "gated": 1.0, "jumprelu": 0.3}
_ALIASES = {"matryoshka": "matryoshka_batchtopk"}


class TrainedParams(Budget):
    """Everything that a training depends on beside its activations."""

    k: Count | None = None
    """Active latents a token (topk; on average over a batch for batchtopk and matryoshka_batchtopk)."""
    l1_coefficient: Positive | None = None
    """Weight of the L1 penalty (standard, gated), for inputs scaled as in `training.py`."""
    l0_coefficient: Positive | None = None
    """Weight of the L0 penalty (jumprelu), for inputs scaled as in `training.py`."""
    matryoshka_widths: tuple[Count, ...] | None = None
    """How many latents each nested SAE has (matryoshka_batchtopk); the last one has all."""
    match_l0: bool = False
    """Whether the sparsity is set so that L0 is that of the entry's base on the same activations."""
    tokens: Count = 200_000
    batch_size: Count = 256
    seed: Seed = 0
    recipe: Literal[2] = RECIPE

    def identity(self) -> dict[str, Any]:
        """Without what its architecture does not have."""
        return self.model_dump(mode="json", exclude_none=True)


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
    matryoshka_widths: tuple[Count, ...] | None = None
    """Of matryoshka: an eighth, a quarter, half and all of the latents unless said otherwise."""
    match_l0: bool = False
    """Set the sparsity so that L0 is that of `like` on the same activations."""
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

    @model_validator(mode="after")
    def _one_sparsity(self) -> TrainedForm:
        if not self.match_l0:
            return self
        if self.like is None:
            raise ValueError("`match_l0` meets the L0 of another SAE: give its name as `like`")
        given = [key for key in sorted(set(SPARSITY.values())) if getattr(self, key) is not None]
        if given:
            raise ValueError(f"`match_l0` finds the sparsity by itself: leave out {', '.join(given)}")
        return self


def entry(form: TrainedForm, around: Surroundings, like: SaeEntry | None) -> SaeEntry:
    """The entry of an SAE to be trained.

    Raises:
        RegistryError: an unknown architecture or site, or a parameter of another architecture.
    """
    site = around.site(form.site, form.name) if form.site is not None else _of(like).site
    architecture = _architecture(form, like)
    prepend_bos, context_size = form.prepend_bos, form.context_size
    if prepend_bos is None:
        prepend_bos = around.prepend_bos_default if like is None else like.prepend_bos
    if context_size is None and like is not None:
        context_size = like.context_size
    d_sae = form.d_sae or _of(like).d_sae
    params = TrainedParams(
        **_sparsity(form, architecture, d_sae, like),
        matryoshka_widths=_widths(form, architecture, d_sae),
        match_l0=form.match_l0,
        lr=form.lr or 0.1 / math.sqrt(d_sae),
        tokens=form.tokens,
        batch_size=form.batch_size,
        seed=form.seed,
    )
    return SaeEntry(
        name=form.name,
        source="trained",
        site=site,
        d_in=site.width(around.config),
        d_sae=d_sae,
        architecture=architecture,
        prepend_bos=prepend_bos,
        context_size=context_size,
        on=form.on,
        base=_matched(form, site, like),
        params=params,
    )


def _of(like: SaeEntry | None) -> SaeEntry:
    """`like`, where the form has made sure that there is one."""
    if like is None:
        raise TypeError("a trained SAE without `like` has site, architecture and d_sae of its own")
    return like


def _architecture(form: TrainedForm, like: SaeEntry | None) -> str:
    given = form.architecture or trained_as(_of(like))
    architecture = _ALIASES.get(given, given)
    if architecture not in ARCHITECTURES:
        raise RegistryError(f"SAE '{form.name}': {unknown('architecture to train', architecture, ARCHITECTURES)}")
    return architecture


def trained_as(like: SaeEntry) -> str:
    """The architecture in training of an SAE: one that is read as `jumprelu` was often trained as `batchtopk`."""
    root = _root(like)
    return getattr(root.params, "trained_as", root.architecture)


def _root(like: SaeEntry) -> SaeEntry:
    """The SAE that others were finetuned or pruned from, or drawn after: the one that was trained."""
    while like.base is not None and like.source != "trained":
        like = like.base
    return like


def _sparsity(form: TrainedForm, architecture: str, d_sae: int, like: SaeEntry | None) -> dict[str, Any]:
    """The architecture's own sparsity parameter: given, copied from `like`, or the default."""
    own = SPARSITY[architecture]
    for key in sorted(set(SPARSITY.values()) - {own}):
        if getattr(form, key) is not None:
            raise RegistryError(f"SAE '{form.name}': '{key}' means nothing to {architecture}; its sparsity is '{own}'.")
    if form.match_l0:
        return {}
    value = getattr(form, own)
    if value is None and like is not None and architecture == trained_as(like):
        value = getattr(_root(like).params, own, None)
    if value is None:
        value = DEFAULT_COEFFICIENTS.get(architecture)
    if value is None:
        raise RegistryError(
            f"SAE '{form.name}': a {architecture} SAE needs 'k', the number of active latents a token, "
            "or `match_l0: true` and an SAE to be `like`."
        )
    if own == "k" and value > d_sae:
        raise RegistryError(f"SAE '{form.name}': 'k' is {value}, but there are only {d_sae} latents (d_sae).")
    return {own: value}


def _widths(form: TrainedForm, architecture: str, d_sae: int) -> tuple[int, ...] | None:
    """The widths of the nested SAEs of a matryoshka, each twice the one before (arXiv 2503.17547) unless given."""
    given = form.matryoshka_widths
    if architecture != "matryoshka_batchtopk":
        if given is not None:
            raise RegistryError(f"SAE '{form.name}': 'matryoshka_widths' means nothing to {architecture}.")
        return None
    if given is None:
        return tuple(width for width in (d_sae // 8, d_sae // 4, d_sae // 2, d_sae) if width > 0)
    if list(given) != sorted(set(given)) or given[-1] != d_sae:
        raise RegistryError(
            f"SAE '{form.name}': 'matryoshka_widths' grow and end with all {d_sae} latents (d_sae), got {list(given)}."
        )
    return given


def _matched(form: TrainedForm, site: Site, like: SaeEntry | None) -> SaeEntry | None:
    """The SAE whose L0 is to be met, which must read the same activations."""
    if not form.match_l0:
        return None
    if _of(like).site != site:
        raise RegistryError(
            f"SAE '{form.name}': `match_l0` needs an SAE of the same site, but '{_of(like).name}' reads "
            f"'{_of(like).site.name}' and not '{site.name}'."
        )
    return like
