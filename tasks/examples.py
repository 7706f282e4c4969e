"""Labelled examples as an SAE sees them: one pooled activation and one pooled vector of latents each.

An example is a text (pooled: the mean over its valid tokens) or a word in a prompt (the value at its last token). Its
labels are values of attributes: `{"sentiment": "positive"}`; one set may carry several attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from jaxtyping import Float

Result = TypeVar("Result")


@dataclass(frozen=True)
class ExampleSet:
    """What is known of a set of examples before any of them is read."""

    name: str
    attributes: tuple[str, ...]
    """Attributes to be probed."""
    spurious: tuple[tuple[str, str], ...] = ()
    """Pairs (target, spurious attribute) whose correlation SCR makes and removes."""


@dataclass(frozen=True)
class SiteSplit:
    """Training or test examples at one site of a state: the same for all SAEs there."""

    labels: Mapping[str, Sequence[str | None]]
    """Attribute -> the value of each example; None where an example has none."""
    activations: Float[np.ndarray, "example d_in"]
    """Pooled activations, float32."""


@dataclass(frozen=True)
class SiteExamples:
    """A set of examples at one site of a state."""

    set: ExampleSet
    train: SiteSplit
    test: SiteSplit
    n_left_out: int = 0
    """Examples without any valid token, which are in neither split."""
    _shared: dict[str, object] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], Result]) -> Result:
        """What `make` gives, made once for all tasks and SAEs that look at this site: probes on its activations."""
        if name not in self._shared:
            self._shared[name] = make()
        return self._shared[name]  # type: ignore[return-value]  # `name` stands for one thing


@dataclass(frozen=True)
class Latents:
    """What one SAE makes of the examples of a split, float32, one row for each."""

    values: Float[np.ndarray, "example d_sae"]
    """Pooled latents."""
    written: Float[np.ndarray, "example d_sae"]
    """Pooled latents in the units in which the decoder writes them: `written @ decoder` is the pooled reconstruction
    up to a constant. The same as `values` unless the SAE scales each token by its own norm."""


@dataclass(frozen=True)
class Examples:
    """A set of examples at one site of a state, seen by one SAE."""

    site: SiteExamples
    train: Latents
    test: Latents
    decoder: Float[np.ndarray, "d_sae d_in"]
    """What one unit of each latent adds to the activations."""
