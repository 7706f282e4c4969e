"""What is timed: a prompt read by the model, tokens generated with a cache, tokens encoded and decoded by an SAE.

Tokens are drawn from the whole vocabulary by a fixed seed: no speed here depends on what a text says, and every state
of every run reads the same ones.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from sae_lens import SAE
from torch import Tensor
from transformers import PreTrainedModel

from .timing import Work


def prefill(model: PreTrainedModel, batch_size: int, prompt_tokens: int) -> Work:
    """Prompts read by the model, up to the logits of the token after each; its cache is filled, as for generation."""
    tokens = _tokens(model, batch_size, prompt_tokens)
    return Work(lambda _nothing: _step(model, tokens, None))


def decode(model: PreTrainedModel, prompt_tokens: int, new_tokens: int) -> Work:
    """Tokens generated one by one after a prompt, each the likeliest; reading the prompt is not timed."""
    prompt = _tokens(model, 1, prompt_tokens)

    def run(read: tuple[Tensor, Any]) -> None:
        logits, cache = read
        for _ in range(new_tokens):
            logits, cache = _step(model, logits.argmax(dim=-1), cache)

    return Work(run, prepare=lambda: _step(model, prompt, None))


def encode_decode(sae: SAE[Any], n_tokens: int) -> Work:
    """Activations of unit variance encoded to latents and decoded again."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n_tokens, sae.cfg.d_in, generator=generator).to(sae.W_enc)
    return Work(lambda _nothing: sae.decode(sae.encode(x)))


def _tokens(model: PreTrainedModel, batch_size: int, n_tokens: int) -> Int[Tensor, "batch position"]:
    generator = torch.Generator().manual_seed(0)
    shape = (batch_size, n_tokens)
    return torch.randint(model.config.vocab_size, shape, generator=generator).to(model.device)


def _step(
    model: PreTrainedModel, tokens: Int[Tensor, "batch position"], cache: Any
) -> tuple[Float[Tensor, "batch 1 vocabulary"], Any]:
    """Logits after the last of some tokens, and the cache with them in it."""
    out = model.base_model(input_ids=tokens, past_key_values=cache, use_cache=True)
    # Every state has one: verification refuses a result without.
    logits = model.get_output_embeddings()(out.last_hidden_state[:, -1:])  # pyright: ignore[reportOptionalCall]
    return logits, out.past_key_values
