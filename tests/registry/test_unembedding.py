"""Logits of some words are those that the model makes of all, whatever its unembedding is made of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from saetransfer.registry.unembedding import Unembedding
from tests.toys import toy_model

HIDDEN = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))


class Halved(nn.Module):
    """As quantised unembeddings are: no linear layer, and weights that cannot be cut."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.out_features = linear.out_features
        self.weight = linear.weight[:, ::2]
        self._linear = linear

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = self._linear(hidden) / 2
        return out


def by_blocks(unembedding: Unembedding, hidden: Tensor) -> Tensor:
    """All logits `[token, vocabulary]`, made of seven words at a time."""
    block, parts = unembedding.blocks(hidden), []
    for start in range(0, unembedding.n_words, 7):
        words = slice(start, min(start + 7, unembedding.n_words))
        room = torch.full((words.stop - words.start, len(hidden)), torch.nan)
        parts.append(block(words, room).clone())
    return torch.cat(parts).T


def model_of(change: str) -> PreTrainedModel:
    model = toy_model("gemma2" if change == "soft cap" else "llama")
    if change == "bias":
        model.lm_head.bias = nn.Parameter(torch.randn(model.lm_head.out_features))
    if change == "quantised":
        model.set_output_embeddings(Halved(model.lm_head))
    return model


@pytest.mark.parametrize("change", ["nothing", "bias", "soft cap", "quantised"])
@torch.inference_mode()
def test_blocks_make_up_the_whole(change: str) -> None:
    model = model_of(change)
    unembedding = Unembedding(model)
    hidden = HIDDEN[:, : model.config.hidden_size]
    whole = unembedding.logits(hidden)
    assert unembedding.by_block == (change != "quantised")
    assert unembedding.n_words == whole.shape[1] == model.config.vocab_size
    assert torch.allclose(by_blocks(unembedding, hidden), whole, atol=1e-6)


@torch.inference_mode()
def test_models_in_half_precision_give_logits_in_float32() -> None:
    model = toy_model("llama").bfloat16()
    unembedding = Unembedding(model)
    hidden = HIDDEN[:, : model.config.hidden_size].bfloat16()
    found = by_blocks(unembedding, hidden)
    assert found.dtype == torch.float32
    assert torch.allclose(found, unembedding.logits(hidden).float(), rtol=2**-7)  # a unit in bfloat16's last place


def test_a_model_that_predicts_no_words_is_refused() -> None:
    with pytest.raises(TypeError, match="LlamaModel has no unembedding: it is no causal language model"):
        Unembedding(toy_model("llama").base_model)
