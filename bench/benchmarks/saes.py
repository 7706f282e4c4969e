"""What SAEs cost: encoding and decoding once they are pruned, and training against its parts."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from jaxtyping import Float
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor
from transformers import PreTrainedModel

from ...registry import models, sites, texts, windows
from ...registry.saes.build import make
from ...registry.saes.entry import SaeEntry
from ...registry.saes.resolve import resolve
from ...registry.saes.structured import narrowed
from ...registry.sites import Site
from ...registry.windows import Batch
from ...tasks.cost.task import time_saes
from ...tasks.cost.timing import Patience
from .compressing import THREADS
from .shapes import random_sae

_SHAPES = ((768, 24_576, 32), (128, 1024, 20))
"""Channels, latents and k of a TopK SAE."""
_SPEED_TOKENS = 1024
_TRAINING_TOKENS = 100_000
_ROUNDS = 3
_SITE = "blocks.2.hook_resid_post"


def section() -> str:
    """Both tables."""
    torch.set_num_threads(THREADS)
    return f"{_pruned()}\n\n{_training()}"


def _pruned() -> str:
    rows = [
        "| TopK SAE | encode and decode | half of its latents | half of its weights |",
        "| --- | ---: | ---: | ---: |",
    ]
    for d_in, d_sae, k in _SHAPES:
        whole = random_sae(d_in, d_sae, k, _SITE)
        half = narrowed(whole, torch.arange(0, d_sae, 2))
        sparse = random_sae(d_in, d_sae, k, _SITE)
        with torch.no_grad():
            for weights in (sparse.W_enc, sparse.W_dec):
                weights.mul_(torch.rand(weights.shape) < 0.5)
        timed = time_saes({"whole": whole, "half": half, "sparse": sparse}, _SPEED_TOKENS, Patience(seconds=1.0))
        base, halved, zeroed = (figure.value or math.nan for figure in timed.values())
        shape, faster = f"{d_in} x {d_sae:,}, k {k}", (halved / base, zeroed / base)
        rows.append(f"| {shape} | {base:,.0f} tokens/s | {faster[0]:.2f} times | {faster[1]:.2f} times |")
    told = "Zeros among the weights of a dense matrix make nothing faster; latents that are taken out do."
    return told + "\n\n" + "\n".join(rows)


def _training() -> str:
    """Making an SAE from the text, against capturing its activations and SAELens' trainer on them in memory."""
    found = models.resolve("microworld", Path())
    model, entry = models.load(found), _entry(found.config)
    batches = list(_batches(found))
    rounds = [_round(model, entry, batches) for _ in range(_ROUNDS)]
    whole, capture, trainer = (median(values) for values in zip(*rounds, strict=True))
    return (
        f"Training on {_TRAINING_TOKENS:,} tokens of the microworld, topk 128 x 1,024: {whole:.1f} s, which is "
        f"{whole / (capture + trainer):.2f} times the bare forward passes ({capture:.1f} s) and SAELens' "
        f"`SAETrainer` on activations in memory ({trainer:.1f} s)."
    )


def _entry(config: Any) -> SaeEntry:
    definition = {
        "name": "measured", "source": "trained", "on": "dense", "site": _SITE, "architecture": "topk",
        "d_sae": 1024, "k": 20, "tokens": _TRAINING_TOKENS,
    }  # fmt: skip
    return resolve(definition, folder=Path(), named={}, config=config)


def _batches(found: models.Model) -> Iterator[Batch]:
    text = texts.resolve("microworld", Path(), divided=True)
    tokenizer, n_tokens = models.load_tokenizer(found), 0
    endless = texts.endless(text, "training")
    for part in windows.stream(endless, tokenizer, context=128, prepend_bos=True):
        for batch in part.batches(4096):
            yield batch
            n_tokens += int(batch.valid.sum())
        if n_tokens > _TRAINING_TOKENS:
            return


def _captured(model: PreTrainedModel, site: Site, batches: list[Batch]) -> Iterator[Float[Tensor, "token d_in"]]:
    for batch in batches:
        with torch.inference_mode():
            found = sites.read(model, batch.tokens, [site])[site]
        yield found[batch.valid].clone()


def _round(model: PreTrainedModel, entry: SaeEntry, batches: list[Batch]) -> tuple[float, float, float]:
    """Seconds of making the SAE, of the bare passes, of the trainer alone."""
    start = time.perf_counter()
    activations = torch.cat(list(_captured(model, entry.site, batches)))
    captured = time.perf_counter()
    _trainer(activations[:_TRAINING_TOKENS])
    trained = time.perf_counter()
    make(entry, activations=lambda: _captured(model, entry.site, batches))
    return time.perf_counter() - trained, captured - start, trained - captured


def _trainer(activations: Float[Tensor, "token d_in"], batch_size: int = 256) -> None:
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=activations.shape[1], d_sae=1024, k=20))
    steps = len(activations) // batch_size
    config = SAETrainerConfig(
        total_training_samples=steps * batch_size, train_batch_size_samples=batch_size, lr=3e-3, lr_end=3e-3,
        lr_warm_up_steps=10, lr_decay_steps=10, device="cpu", dead_feature_window=100, feature_sampling_window=100,
    )  # fmt: skip
    trainer = SAETrainer(config, sae, data_provider=iter(activations.split(batch_size)))
    for batch in activations[: steps * batch_size].split(batch_size):
        trainer.step(batch)
        trainer.n_training_steps += 1
