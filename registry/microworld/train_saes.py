"""Train the microworld's sparse autoencoders with SAELens' own trainer: TopK, on the middle layer.

Source of the architecture: Gao et al., "Scaling and evaluating sparse autoencoders", arXiv 2406.04093.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from .tokens import encoded_stories, pad, special_ids


@dataclass(frozen=True)
class SaeRecipe:
    """Where an SAE sits and how it is trained."""

    hook_name: str
    """TransformerLens' name of the site."""
    hf_hook_name: str
    """The Hugging Face module whose output is the site."""
    k: int = 20
    """Latents active on a token, at most."""
    d_sae: int = 1024
    n_stories: int = 8_000
    """Stories of the training split whose activations are kept in memory and gone through several times."""
    n_samples: int = 3_000_000
    """Activations trained on, repeats included."""
    batch_size: int = 2048
    learning_rate: float = 1e-3
    seed: int = 2

    def shortened(self, share: float) -> SaeRecipe:
        """The same recipe with a share of the data."""
        return replace(self, n_stories=int(self.n_stories * share), n_samples=int(self.n_samples * share))


RECIPES: dict[str, SaeRecipe] = {
    "resid-2": SaeRecipe("blocks.2.hook_resid_post", "model.layers.2"),
    "mlp-2": SaeRecipe("blocks.2.hook_mlp_out", "model.layers.2.mlp"),
}


def train_sae(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: SaeRecipe) -> TopKTrainingSAE:
    """Train one SAE on the activations of stories the model was not trained on (another seed)."""
    rows = list(islice(encoded_stories("training", recipe.seed, tokenizer), recipe.n_stories))
    x = torch.cat([acts[words] for acts, words in site_activations(model, tokenizer, rows, recipe.hf_hook_name)])
    torch.manual_seed(recipe.seed)
    sae = TopKTrainingSAE(_sae_config(recipe, model.config.hidden_size))
    trainer = SAETrainer(_trainer_config(recipe), sae, _batches(x, recipe))
    return trainer.fit()


def site_activations(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    rows: list[list[int]],
    module_name: str,
    batch_size: int = 128,
) -> Iterator[tuple[Float[Tensor, "batch position d_model"], Bool[Tensor, "batch position"]]]:
    """A module's output for batches of rows, and where it stands on a word (no `<bos>`, `<eos>` or padding)."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _args: object, output: Tensor) -> None:
        kept.append(output)

    handle = model.get_submodule(module_name).register_forward_hook(keep)
    try:
        for start in range(0, len(rows), batch_size):
            ids = pad(rows[start : start + batch_size], special_ids(tokenizer).pad)
            # Not around the whole generator: its caller must not find gradients switched off between two batches.
            with torch.no_grad():
                model.model(ids, use_cache=False)
            yield kept.pop(), is_word(ids, tokenizer)
    finally:
        handle.remove()


def is_word(ids: Int[Tensor, "batch position"], tokenizer: PreTrainedTokenizerFast) -> Bool[Tensor, "batch position"]:
    """Where a token is part of the text and not a special token."""
    return ~torch.isin(ids, torch.tensor(special_ids(tokenizer)))


def save_sae(sae: TopKTrainingSAE, folder: Path) -> None:
    """Write the SAE in SAELens' format for inference."""
    folder.mkdir(parents=True, exist_ok=True)
    sae.save_inference_model(folder)


def _sae_config(recipe: SaeRecipe, d_model: int) -> TopKTrainingSAEConfig:
    return TopKTrainingSAEConfig(
        d_in=d_model,
        d_sae=recipe.d_sae,
        k=recipe.k,
        normalize_activations="expected_average_only_in",
        metadata=SAEMetadata(
            model_name="microworld",
            hook_name=recipe.hook_name,
            hf_hook_name=recipe.hf_hook_name,
            prepend_bos=True,
            context_size=128,
        ),
    )


def _trainer_config(recipe: SaeRecipe) -> SAETrainerConfig:
    steps = recipe.n_samples // recipe.batch_size
    return SAETrainerConfig(
        total_training_samples=recipe.n_samples,
        train_batch_size_samples=recipe.batch_size,
        lr=recipe.learning_rate,
        lr_end=recipe.learning_rate / 10,
        lr_warm_up_steps=steps // 50,
        lr_decay_steps=steps // 3,
        # A latent silent for 200 batches counts as dead, and the auxiliary loss revives it.
        dead_feature_window=200,
        n_batches_for_norm_estimate=50,
        logger=LoggingConfig(log_to_wandb=False),
    )


def _batches(x: Float[Tensor, "sample d_model"], recipe: SaeRecipe) -> Iterator[Float[Tensor, "batch d_model"]]:
    order = torch.Generator().manual_seed(recipe.seed)
    while True:
        shuffled = torch.randperm(len(x), generator=order)
        for start in range(0, len(x) - recipe.batch_size + 1, recipe.batch_size):
            yield x[shuffled[start : start + recipe.batch_size]]
