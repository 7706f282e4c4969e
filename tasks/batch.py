"""What a task is given: some text on one state, with tensors that are computed when first asked for, and once.

Three layers share what they can: `StateBatch` (one for all SAEs of a state), `SiteBatch` (one for all SAEs of a site),
`CellBatch` (one SAE). Everything is already cut down to the valid tokens: `[token, ...]`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Bool, Float, Int
from torch import Tensor

from .firings import Firings, firings
from .predictions import Predictions
from .settling import Hidden, Losses


@dataclass(frozen=True)
class StateBatch:
    """A batch of text on a state, and on its dense state."""

    unit: Int[Tensor, " token"]
    """The resampling unit (document) of each token."""
    scored: Bool[Tensor, " token"]
    """Tokens that have a cross-entropy: the next position is text too."""
    predictions: Predictions
    """What the state predicts, and with something spliced in."""


class SiteBatch:
    """A batch of text at one site of a state."""

    def __init__(
        self,
        state: StateBatch,
        *,
        activations: Float[Tensor, "token channel"],
        mean: Float[Tensor, " channel"],
        splice: Callable[[Float[Tensor, "token channel"]], Hidden],
        zero: Callable[[], Losses],
        mean_ablation: Callable[[], Losses],
        dense_activations: Callable[[], Float[Tensor, "token channel"]] | None = None,
    ) -> None:
        """What a site holds, and what becomes of it.

        Args:
            mean: of the activations, over all valid tokens of the text.
            splice: runs the layers after the site.
            zero: asks for the losses with zeros at the site.
            mean_ablation: asks for those with the mean there.
            dense_activations: gives those of the dense state; None where this is the dense one.
        """
        self.state = state
        self.activations = activations
        self.mean = mean
        self._splice = splice
        self._zero = zero
        self._mean_ablation = mean_ablation
        self._dense_activations = dense_activations

    @cached_property
    def dense_activations(self) -> Float[Tensor, "token channel"]:
        """The activations of the dense state."""
        return self.activations if self._dense_activations is None else self._dense_activations()

    @cached_property
    def zero(self) -> Losses:
        """Zero ablation: the site gives zeros at every position, as SAELens and SAEBench do it."""
        return self._zero()

    @cached_property
    def mean_ablation(self) -> Losses:
        """Mean ablation: every valid position gives the mean activation of the text."""
        return self._mean_ablation()

    def spliced(self, replacement: Float[Tensor, "token channel"]) -> Losses:
        """The state with `replacement` at this site's valid positions; others keep their own activations."""
        return self.state.predictions.ask(self._splice(replacement))


@dataclass(frozen=True)
class Dictionaries:
    """What is known of a cell's SAE before any text is read: its decoder, and those it is compared with."""

    decoder: Float[Tensor, "d_sae d_in"]
    origin: Float[Tensor, "d_sae d_in"] | str
    """Decoder of the frozen SAE that this one is or was made from, latent by latent; or why there is none."""
    counterpart: Float[Tensor, "d_other d_in"] | str
    """Decoder of the frozen SAE at the same site, whose latents have nothing to do with this one's by their number; or
    why there is none."""


class CellBatch:
    """A batch of text at one site of a state, seen by one SAE."""

    def __init__(
        self,
        site: SiteBatch,
        dictionaries: Dictionaries,
        *,
        encode: Callable[[Float[Tensor, "token channel"]], Float[Tensor, "token d_sae"]],
        decode: Callable[[Float[Tensor, "token d_sae"]], Float[Tensor, "token channel"]],
        origin: Callable[[], Float[Tensor, "token d_origin"]] | None = None,
        placed: Callable[[Float[Tensor, "token d_sae"]], Float[Tensor, "token d_origin"]] | None = None,
        counterpart: Callable[[], Float[Tensor, "token d_other"]] | None = None,
    ) -> None:
        """What the SAE and those it is compared with make of the batch.

        Args:
            origin: gives the latents of the frozen SAE that this one is or was made from, on the *dense* activations;
                None where there is none.
            placed: puts this SAE's latents at the places that they have there; None where they are there.
            counterpart: gives those of the frozen SAE at the same site, on *this* state's activations.
        """
        self.site = site
        self.state = site.state
        self.dictionaries = dictionaries
        self._encode = encode
        self._decode = decode
        self._origin = origin
        self._placed = placed
        self._counterpart = counterpart

    @property
    def placed_features(self) -> Float[Tensor, "token d_origin"]:
        """The SAE's latents, those that were taken out of it as silent ones: one by one those of `origin_features`."""
        return self.features if self._placed is None else self._placed(self.features)

    @cached_property
    def origin_features(self) -> Float[Tensor, "token d_origin"] | None:
        """Latents on the dense state of the frozen SAE that this one is or was made from, float32."""
        return None if self._origin is None else self._origin().float()

    @cached_property
    def counterpart_features(self) -> Float[Tensor, "token d_other"] | None:
        """Latents on this state of the frozen SAE at the same site, float32."""
        return None if self._counterpart is None else self._counterpart().float()

    @cached_property
    def features(self) -> Float[Tensor, "token d_sae"]:
        """The SAE's latents, float32."""
        return self._encode(self.site.activations).float()

    @cached_property
    def firings(self) -> Firings:
        """Those of the latents that are not 0."""
        return firings(self.features)

    @cached_property
    def reconstruction(self) -> Float[Tensor, "token channel"]:
        """What the SAE makes of the activations, float32."""
        return self._decode(self.features).float()

    @cached_property
    def spliced(self) -> Losses:
        """The state with the reconstruction in place of its activations."""
        return self.site.spliced(self.reconstruction)
