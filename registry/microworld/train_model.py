"""Train the microworld's language model: a Llama of five layers, one story a window, no story seen twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from .tokens import MAX_POSITIONS, encoded_stories, pad, special_ids


@dataclass(frozen=True)
class ModelRecipe:
    """Everything that decides the weights, but for the order of floating-point sums."""

    n_stories: int = 40_000
    """Stories of the training split, each used once."""
    batch_size: int = 16
    """Stories a step."""
    learning_rate: float = 3e-3
    """Peak; reached after `warm_up` steps, then a cosine down to a twentieth."""
    warm_up: int = 100
    weight_decay: float = 0.05
    seed: int = 1
    """Of the initial weights and of the stories."""

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return self.n_stories // self.batch_size


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """The untrained model: 1.3 million parameters, index 2 of its layers is the middle."""
    torch.manual_seed(seed)
    special = special_ids(tokenizer)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        # 1 / sqrt(d_model), so that attention is not flat at the start; the usual 0.02 suits widths of thousands.
        initializer_range=0.088,
        bos_token_id=special.bos,
        eos_token_id=special.eos,
        pad_token_id=special.pad,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # As in GPT-2: what the layers add must not drown the embedding.
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight /= math.sqrt(2 * config.num_hidden_layers)
    return model


def train_model(
    tokenizer: PreTrainedTokenizerFast, recipe: ModelRecipe, report: Callable[[int, float, int], None]
) -> LlamaForCausalLM:
    """Train from scratch; `report(step, loss, n_tokens)` is called after every step, loss in nats a token."""
    model = new_model(tokenizer, recipe.seed)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    gains = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": gains, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share_of_peak(step, recipe))
    pad_id, n_tokens = special_ids(tokenizer).pad, 0
    for step, ids in enumerate(_batches(tokenizer, recipe)):
        n_targets = int(torch.count_nonzero(ids[:, 1:] != pad_id))
        loss = next_token_nats(model, ids, pad_id).sum() / n_targets
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        n_tokens += n_targets
        report(step, loss.item(), n_tokens)
    return model.eval()


def next_token_nats(
    model: LlamaForCausalLM, ids: Int[Tensor, "batch position"], pad_id: int
) -> Float[Tensor, "batch position-1"]:
    """- ln p of every token after the first, given those before it; 0 where the target is padding."""
    logits, targets = model(ids, use_cache=False).logits[:, :-1].float(), ids[:, 1:]
    nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=pad_id, reduction="none")
    return nats.view_as(targets)


def _share_of_peak(step: int, recipe: ModelRecipe) -> float:
    if step < recipe.warm_up:
        return (step + 1) / recipe.warm_up
    progress = (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _batches(tokenizer: PreTrainedTokenizerFast, recipe: ModelRecipe) -> Iterator[Int[Tensor, "batch position"]]:
    source = encoded_stories("training", recipe.seed, tokenizer)
    order = torch.Generator().manual_seed(recipe.seed)
    left, per_pool = recipe.steps, 64
    while left > 0:
        # Stories of like length share a batch, which saves padding; the order of the batches stays random.
        pool = sorted(islice(source, recipe.batch_size * per_pool), key=len)
        for i in torch.randperm(per_pool, generator=order).tolist()[:left]:
            yield pad(pool[i * recipe.batch_size : (i + 1) * recipe.batch_size], special_ids(tokenizer).pad)
        left -= per_pool
