"""What the harness knows of one SAE before any of its weights is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ..sites import Site

Source = Literal["pretrained", "trained", "finetuned", "pruned", "random"]
Origin = Literal["dense", "state"]


class Params(BaseModel):
    """What only one source needs: each source has its own subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def identity(self) -> dict[str, Any]:
        """The part of these parameters that can change the SAE, as JSON values: no names, no paths."""
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class SaeEntry:
    """One SAE of a suite: where it comes from and what it reads."""

    name: str
    """How the suite calls it; changes nothing that is measured."""
    source: Source
    site: Site
    """Where it reads and replaces activations."""
    d_in: int
    """Channels of the activations at `site`."""
    d_sae: int
    """Number of latents; of the base's, where only making it tells how many are left of them."""
    architecture: str
    """As SAELens calls it; `batchtopk` becomes a `jumprelu` once it is trained."""
    prepend_bos: bool
    """Whether the texts that it was or will be trained on start with BOS, and so whether those it reads should."""
    context_size: int | None
    """Tokens a context had in its training; None where that is not known."""
    on: Literal["dense", "state"] | None
    """Of which model it needs activations to be made: the dense one, each state, or (None) none at all."""
    base: SaeEntry | None
    """The SAE that it is made from, or whose L0 it is to meet."""
    params: Params

    @property
    def depends_on_state(self) -> bool:
        """Whether every state has its own weights of this SAE."""
        return self.on == "state" or (self.base is not None and self.base.depends_on_state)

    @property
    def reads(self) -> Literal["training", "calibration"] | None:
        """Which text the activations that it is made from belong to; None where it needs none."""
        if self.on is None:
            return None
        return "training" if self.source in ("trained", "finetuned") else "calibration"

    def identity(self) -> dict[str, Any]:
        """Everything that can change its weights or how it is read, as JSON values.

        Neither the display name nor a path is in it. The texts that it is trained or calibrated on, and the state
        where it `depends_on_state`, are for the caller to add.
        """
        return {
            "source": self.source,
            "site": self.site.name,
            "architecture": self.architecture,
            "d_in": self.d_in,
            "d_sae": self.d_sae,
            "prepend_bos": self.prepend_bos,
            "on": self.on,
            "base": None if self.base is None else self.base.identity(),
            "params": self.params.identity(),
        }
