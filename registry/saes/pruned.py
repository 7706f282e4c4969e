"""SAEs pruned without training.

| method | what goes | reads activations |
|---|---|---|
| `wanda`, `magnitude` | weights, to zero (`unstructured.py`) | wanda |
| `contribution`, `frequency`, `silent` | whole latents (`structured.py`) | yes |
| `int8` | bits of every weight (`quantised.py`) | no |

`sparsity: best` takes as much as costs little. On activations that come after those of the calibration, strengths are
tried from 0 upwards; the last one is taken before the first whose explained variance is more than `tolerance` below
the base's. What each strength explained is in the metadata of cfg.json, beside what was chosen.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor

from ..errors import RegistryError
from .activity import Activity
from .entry import Origin, Params, SaeEntry
from .forms import Count, Form, Number
from .quantised import to_int8
from .structured import highest, narrowed
from .unstructured import masked, rankable

if TYPE_CHECKING:
    from sae_lens import SAE

Method = Literal["wanda", "magnitude", "contribution", "frequency", "silent", "int8"]
_STRUCTURED = ("contribution", "frequency", "silent")
_READ_LATENTS = ("wanda", *_STRUCTURED)
_WITHOUT_STRENGTH = ("silent", "int8")

STRENGTHS = (*(step / 20 for step in range(20)), 0.99)
"""What `best` tries: from 0 to 0.95 by 0.05, and 0.99."""
_TOKENS, _VALIDATION_TOKENS = 32_768, 8192
_TOLERANCE = 0.01
_BLOCK = 2048


def _strength(value: object) -> object:
    """A share, or `best`; the messages say what both ends of the range would mean."""
    if value == "best":
        return value
    if isinstance(value, bool):
        raise ValueError("a number is needed, not yes or no")
    try:
        share = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError("input should be a valid number from 0 up to, but not including, 1, or 'best'") from None
    if not 0 <= share < 1:
        raise ValueError("the share of what is pruned is from 0 (nothing) up to, but not including, 1 (everything)")
    return share


Sparsity = Annotated[float | Literal["best"], BeforeValidator(_strength)]
Tolerance = Annotated[Number, Field(ge=0, allow_inf_nan=False)]


class PrunedParams(Params):
    """What decides what goes."""

    method: Method
    sparsity: Sparsity | None = None
    """Share of zeros within every comparison group, or of the latents; None where the method has no strength."""
    tokens: Count | None = None
    """Tokens over which latents are watched; None where the method reads no activations."""
    tolerance: Tolerance | None = None
    """Explained variance that `best` may lose."""
    validation_tokens: Count | None = None
    """Tokens on which `best` measures it, after those of the calibration."""

    def identity(self) -> dict[str, Any]:
        """Without what the method does not have."""
        return self.model_dump(mode="json", exclude_none=True)


class PrunedForm(Form):
    """`{name, source: pruned, base: NAME, method, sparsity: SHARE | best, tolerance, on: state | dense, tokens}`."""

    source: Literal["pruned"]
    base: str
    method: Method
    sparsity: Sparsity | None = None
    """Share of the weights (wanda, magnitude) or of the latents (contribution, frequency); or `best`."""
    tolerance: Tolerance | None = None
    """Explained variance that `best` may lose, 0.01 unless said otherwise."""
    on: Origin | None = None
    """Whose activations are read; `state` unless said otherwise."""
    tokens: Count | None = None
    """Calibration tokens; 32,768 unless said otherwise."""

    @model_validator(mode="after")
    def _whole(self) -> PrunedForm:
        if self.method in _WITHOUT_STRENGTH and self.sparsity is not None:
            raise ValueError(f"{self.method} has no strength: leave out 'sparsity'")
        if self.method not in _WITHOUT_STRENGTH and self.sparsity is None:
            raise ValueError(f"{self.method} pruning needs 'sparsity': a share from 0 up to 1, or 'best'")
        if self.tolerance is not None and self.sparsity != "best":
            raise ValueError("'tolerance' belongs to `sparsity: best`")
        return self

    @model_validator(mode="after")
    def _nothing_to_read(self) -> PrunedForm:
        reads_latents = self.method in _READ_LATENTS
        if not reads_latents and self.tokens is not None:
            raise ValueError(f"{self.method} pruning watches no activations: leave out 'tokens'")
        if not reads_latents and self.sparsity != "best" and self.on is not None:
            raise ValueError(f"{self.method} pruning reads no activations: leave out 'on'")
        return self


def entry(form: PrunedForm, base: SaeEntry) -> SaeEntry:
    """The entry of an SAE that is to be pruned from `base`."""
    best, reads_latents = form.sparsity == "best", form.method in _READ_LATENTS
    params = PrunedParams(
        method=form.method,
        sparsity=form.sparsity,
        tokens=(form.tokens or _TOKENS) if reads_latents else None,
        tolerance=(_TOLERANCE if form.tolerance is None else form.tolerance) if best else None,
        validation_tokens=_VALIDATION_TOKENS if best else None,
    )
    on = (form.on or "state") if reads_latents or best else None
    known = form.method in ("contribution", "frequency") and isinstance(form.sparsity, float)
    d_sae = base.d_sae - int(base.d_sae * float(form.sparsity or 0)) if known else base.d_sae
    return replace(base, name=form.name, source="pruned", on=on, base=base, d_sae=d_sae, params=params)


class Pruning:
    """One SAE being pruned: it watches activations where its method wants that, and is cut at the end."""

    def __init__(self, entry: SaeEntry, base: SAE[Any]) -> None:
        """Of an entry that is pruned from `base`, which stays as it is."""
        if not isinstance(entry.params, PrunedParams):
            raise TypeError(f"'{entry.name}' is {entry.source}, not pruned")
        self.site, self.d_in, self._params = entry.site, entry.d_in, entry.params
        self._watched = entry.params.tokens or 0
        self.tokens = self._watched + (entry.params.validation_tokens or 0)
        self.waited = self.seconds = 0.0
        self._name, self._base, self._activity, self._seen = entry.name, base, Activity(base), 0
        self._validation: list[Tensor] = []

    def read(self, chunk: Float[Tensor, "token d_in"]) -> None:
        """Watch activations, and keep those of the validation."""
        began = time.perf_counter()
        watched = max(0, self._watched - self._seen)
        self._activity.feed(chunk[:watched])
        self._validation.append(chunk[watched:].clone())
        self._seen += chunk.shape[0]
        self.seconds += time.perf_counter() - began

    def finish(self) -> SAE[Any]:
        """The pruned SAE.

        Raises:
            RegistryError: no latent fires at all, so that `silent` would take out all of them.
        """
        self._activity.close()
        noted = self._params.identity()
        strength = self._params.sparsity
        if strength == "best":
            strength, explained = self._best()
            noted |= {"chosen": strength, "explained_variance": explained}
        sae = self._cut(strength)
        sae.cfg.metadata.pruned = noted
        return sae

    def _cut(self, strength: float | None) -> SAE[Any]:
        if self._params.method == "int8":
            sae = rankable(self._base)
            to_int8(sae)
            return sae
        if self._params.method == "silent":
            return narrowed(self._base, self._alive())
        if strength is None:
            raise TypeError(f"'{self._name}' needs a strength")
        if self._params.method in _STRUCTURED:
            return narrowed(self._base, highest(self._scores(), strength))
        if self._params.method == "magnitude":
            return masked(self._base, strength)
        return masked(self._base, strength, self._activity.input_norms(), self._activity.latent_norms())

    def _scores(self) -> Float[Tensor, " d_sae"]:
        if self._params.method == "frequency":
            return self._activity.frequencies()
        return self._activity.means() * rankable(self._base).W_dec.norm(dim=1)

    def _alive(self) -> Tensor:
        alive = self._activity.frequencies().nonzero().flatten().cpu()
        if len(alive) == 0:
            raise RegistryError(
                f"SAE '{self._name}': no latent of its base fires on any of the {self._watched} calibration tokens, so "
                "nothing would be left. Does the base belong to this model and site?"
            )
        return alive

    def _best(self) -> tuple[float, dict[str, float]]:
        """The last strength before the first that loses too much, and what each that was tried explains."""
        x = torch.cat(self._validation)
        wanted = _explained_variance(self._base, x) - (self._params.tolerance or 0.0)
        chosen, explained = 0.0, {}
        for strength in STRENGTHS:
            explained[str(strength)] = found = _explained_variance(self._cut(strength), x)
            if found < wanted or math.isnan(found):
                break
            chosen = strength
        return chosen, explained


@torch.no_grad()
def _explained_variance(sae: SAE[Any], x: Float[Tensor, "token d_in"]) -> float:
    """1 - squared error / squared distance from the mean."""
    x = x.to(sae.W_enc.device)
    error = sum((part - sae(part)).double().square().sum().item() for part in x.split(_BLOCK))
    return 1 - error / (x - x.mean(dim=0)).double().square().sum().item()
