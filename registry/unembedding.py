"""What makes logits of a model's final hidden states: its unembedding, and Gemma's soft cap where it has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

Block = Callable[[slice, Float[Tensor, "word token"]], Float[Tensor, "word token"]]
"""The logits of some words, given room for them, which it need not use."""


class Unembedding:
    """Logits of final hidden states (after the last norm)."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Raises TypeError where the model is none that predicts words."""
        found = model.get_output_embeddings()
        if found is None:
            raise TypeError(f"{type(model).__name__} has no unembedding: it is no causal language model")
        self._module: Any = found
        self._cap: float | None = getattr(model.config, "final_logit_softcapping", None)
        self.n_words: int = getattr(found, "out_features", None) or len(found.weight)
        """Size of the vocabulary."""
        self.by_block: bool = type(found) is nn.Linear and type(found.weight) is nn.Parameter
        """Whether some words cost less than all: those of quantised unembeddings do not."""

    def logits(self, hidden: Float[Tensor, "*position d_model"]) -> Float[Tensor, "*position vocabulary"]:
        """Of all words, as the model itself makes them."""
        return self._capped(self._module(hidden))

    def blocks(self, hidden: Float[Tensor, "token d_model"]) -> Block:
        """Of some words at a time, in float32. The last digits may be others than the model's own.

        Products with the words first are the faster ones on a CPU.
        """
        if not self.by_block:
            whole = self.logits(hidden).T.float()
            return lambda words, _: whole[words]
        weight, bias, by_token = self._module.weight, self._module.bias, hidden.T

        def block(words: slice, room: Float[Tensor, "word token"]) -> Float[Tensor, "word token"]:
            found = torch.mm(weight[words], by_token, out=room if room.dtype == weight.dtype else None)
            return self._capped(found if bias is None else found + bias[words, None]).float()

        return block

    def _capped(self, logits: Tensor) -> Tensor:
        """Logits as the model bounds them, where it does."""
        return logits if self._cap is None else self._cap * torch.tanh(logits / self._cap)
