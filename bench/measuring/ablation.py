"""Zero and mean ablation in the residual stream: one window for all.

Where every position of the residual stream gets the same vector, nothing of a text is left: what the blocks after it
make of that depends on the position in the window alone, and under a causal mask not on the window's length. So one
window, the longest, tells what becomes of all. Mean ablation leaves positions without text as they are; those are
the same in all windows where each begins with the same BOS, which is read before any text, and holds no other.
At sites within a block, texts reach the next one past the site, and nothing of this holds.
"""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from ...registry import sites
from ...registry.sites import Site
from ...registry.windows import Batch
from .moving import onto
from .reading import Reading

ByPosition = Float[Tensor, "position d_model"]
"""Final hidden states of every window, as far as it goes."""


class Ablations:
    """What ablating a site of a state gives, where that depends on the position alone; computed when asked for."""

    def __init__(self, model: PreTrainedModel, reading: Reading, site: Site) -> None:
        self._model = model
        self._reading = reading
        self._site = site

    @cached_property
    def zero(self) -> ByPosition | None:
        """With zeros at every position; None where windows differ."""
        if sites.replay_needs(self._site) != self._site:
            return None
        return self._run(torch.zeros_like(self._activations))

    @cached_property
    def mean(self) -> ByPosition | None:
        """With the mean activation at every position that holds text; None where windows differ."""
        if sites.replay_needs(self._site) != self._site or not self._reading.windows.begin_alike:
            return None
        valid = self._longest.valid[..., None].to(self._model.device)
        return self._run(torch.where(valid, self._reading.means[self._site].to(self._activations), self._activations))

    @cached_property
    def _longest(self) -> Batch:
        return next(self._reading.windows.batches(max_positions=1))

    @cached_property
    def _activations(self) -> Float[Tensor, "1 position channel"]:
        return onto(self._model.device, self._reading.rows(self._site.name, self._longest))

    def _run(self, spliced: Float[Tensor, "1 position channel"]) -> ByPosition:
        tokens = self._longest.tokens.to(self._model.device)
        return sites.last_hidden_spliced(self._model, tokens, self._site, spliced, self._activations)[0]
