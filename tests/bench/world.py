"""A whole small world on disk: a toy model with its tokenizer, a text, an SAE, and suites over them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.toys import toy_model

WORDS = ("<s>", "</s>", "<pad>", *(f"w{number}" for number in range(93)))


def make_world(folder: Path, model_type: str = "llama", sizes: Mapping[str, int] | None = None) -> Path:
    """Write `model/`, `stories.txt` and `sae/` into a folder; returns the folder.

    Args:
        sizes: of the model's configuration, where they are to be others than a toy's.
    """
    toy_model(model_type, sizes=sizes).save_pretrained(folder / "model")
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="</s>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=core, **special).save_pretrained(folder / "model")

    words = random.Random(0)
    stories = (" ".join(words.choices(WORDS[3:], k=words.randint(2, 40))) for _ in range(300))
    (folder / "stories.txt").write_text("\n\n".join(stories), encoding="utf-8")

    with torch.random.fork_rng():
        torch.manual_seed(0)
        sae = TopKSAE(TopKSAEConfig(d_in=32, d_sae=64, k=8))
    sae.cfg.metadata.hook_name = "blocks.1.hook_resid_post"
    sae.cfg.metadata.prepend_bos = True
    sae.save_model(folder / "sae")
    return folder


def write_suite(world: Path, name: str = "suite.yaml", **changes: Any) -> Path:
    """A suite over that world; keyword arguments replace its sections."""
    content: dict[str, Any] = {
        "name": "toy",
        "models": [{"name": "toy", "path": "model"}],
        "compressors": ["dense", "magnitude-50"],
        "saes": [
            {"name": "frozen", "source": "pretrained", "path": "sae"},
            {"name": "random", "source": "random", "like": "frozen"},
        ],
        "data": {"text": "stories.txt", "tokens": 600, "context": 24},
    }
    file = world / name
    file.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False), encoding="utf-8")
    return file
