"""Make the shipped tokenizer, model, SAEs and model card again, from the seed.

    python -m saetransfer.registry.microworld.train              # everything, in this folder
    python -m saetransfer.registry.microworld.train saes card    # some stages only
    python -m saetransfer.registry.microworld.train --out DIR --share 0.01

All chance comes from the seeds in the recipes. Floating-point sums depend on processor and number of threads, so that
other machines get other weights, with figures close to those of the card.
"""

from __future__ import annotations

import json
import time
from enum import Enum
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from transformers import LlamaForCausalLM

from . import MODEL_FOLDER
from .card import write_card
from .tokens import load_tokenizer, train_tokenizer
from .train_model import ModelRecipe, train_model
from .train_saes import RECIPES, save_sae, train_sae


class Stage(str, Enum):
    """The stages, in the order in which they need each other."""

    tokenizer = "tokenizer"
    model = "model"
    saes = "saes"
    card = "card"


def main(
    stages: Annotated[list[Stage] | None, typer.Argument(help="Stages to run; all of them if none is named.")] = None,
    out: Annotated[Path, typer.Option(help="Folder that gets model/, saes/ and MODEL_CARD.md.")] = MODEL_FOLDER.parent,
    share: Annotated[float, typer.Option(min=0.001, max=1.0, help="Share of the training data; 1 ships.")] = 1.0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
) -> None:
    """Train the microworld's tokenizer, model and SAEs, and measure them."""
    console = Console()
    torch.set_num_threads(threads)
    chosen = stages or list(Stage)
    # By the order of `Stage`, whatever the order on the command line.
    for stage in (stage for stage in Stage if stage in chosen):
        started = time.perf_counter()
        _STAGES[stage](out, share, console)
        console.log(f"{stage.value}: {time.perf_counter() - started:.0f} s")


def _tokenizer(out: Path, share: float, console: Console) -> None:
    del share  # the tokenizer is the same for every share of the training data
    tokenizer = train_tokenizer()
    tokenizer.save_pretrained(out / "model")
    console.log(f"{len(tokenizer)} tokens")


def _model(out: Path, share: float, console: Console) -> None:
    recipe = ModelRecipe(n_stories=int(ModelRecipe.n_stories * share))
    started, losses = time.perf_counter(), []
    seen = 0

    def report(step: int, loss: float, n_tokens: int) -> None:
        nonlocal seen
        losses.append(loss)
        seen = n_tokens
        if (step + 1) % 100 == 0:
            speed = n_tokens / (time.perf_counter() - started)
            recent = sum(losses[-100:]) / 100
            console.log(f"step {step + 1} of {recipe.steps}: {recent:.4f} nats a token, {speed:.0f} tokens/s")

    model = train_model(load_tokenizer(out / "model"), recipe, report)
    model.save_pretrained(out / "model")
    training = {"stories": recipe.steps * recipe.batch_size, "tokens": seen, "seconds": time.perf_counter() - started}
    (out / "model" / "training.json").write_text(json.dumps(training) + "\n", encoding="utf-8")


def _saes(out: Path, share: float, console: Console) -> None:
    tokenizer = load_tokenizer(out / "model")
    model = LlamaForCausalLM.from_pretrained(out / "model").eval()
    for name, recipe in RECIPES.items():
        sae = train_sae(model, tokenizer, recipe.shortened(share))
        save_sae(sae, out / "saes" / name)
        console.log(f"{name}: {sae.cfg.metadata.num_dead_features} latents silent at the end of training")


def _card(out: Path, share: float, console: Console) -> None:
    del share  # a card measures what is there
    write_card(out)
    console.log(f"written: {out.name}/MODEL_CARD.md")


_STAGES = {Stage.tokenizer: _tokenizer, Stage.model: _model, Stage.saes: _saes, Stage.card: _card}


if __name__ == "__main__":
    typer.run(main)
