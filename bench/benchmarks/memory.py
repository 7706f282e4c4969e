"""The peak of a state's process: by the length of the text, and by the size of model and SAEs."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GPT2Config

from ...registry import microworld
from . import command
from .shapes import random_sae
from .tasks import ALL, PROBING

_TOKENS = (16_384, 163_840)
_SAES = (1, 4)
_CONTEXT = 128
_D_SAE = 24_576
_SITE = "blocks.8.hook_resid_post"


def section() -> str:
    """Both tables."""
    return f"{_by_text()}\n\n{_by_size()}"


def _by_text() -> str:
    rows = ["| tokens of the text | dense | wanda-50 |", "| ---: | ---: | ---: |"]
    for tokens in _TOKENS:
        with tempfile.TemporaryDirectory() as name:
            command.run("ci", Path(name), {"tasks": ALL, "data.probing": PROBING, "data.tokens": tokens})
            peaks = command.peak_bytes(Path(name))
        rows.append(f"| {tokens:,} | {peaks['dense'] / 1e6:.0f} MB | {peaks['wanda-50'] / 1e6:.0f} MB |")
    return (
        "Suite `ci` with all tasks but downstream: the highest peak of resident memory in any phase of a state's "
        "process, libraries included.\n\n" + "\n".join(rows)
    )


def _by_size() -> str:
    rows = ["| SAEs | model and SAEs | dense | rtn-4 |", "| ---: | ---: | ---: | ---: |"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model_bytes = _make_model(folder / "model")
        for number in range(max(_SAES)):
            torch.manual_seed(number)
            random_sae(768, _D_SAE, 32, hook_name=_SITE).save_model(folder / f"sae-{number}")
        for count in _SAES:
            suite = folder / f"{count}.yaml"
            suite.write_text(json.dumps(_suite(count)), encoding="utf-8")  # JSON is YAML
            command.run(str(suite), folder / str(count))
            held = model_bytes + count * 4 * (2 * 768 + 1) * _D_SAE
            peaks = command.peak_bytes(folder / str(count))
            over = {state: (peak - held) / 2**30 for state, peak in peaks.items()}
            rows.append(
                f"| {count} | {held / 1e6:.0f} MB | "
                + " | ".join(f"{peaks[state] / 1e6:.0f} MB ({over[state]:+.2f} GiB)" for state in ("dense", "rtn-4"))
                + " |"
            )
    return (
        f"A model of the shape of GPT-2 small and random SAEs of {_D_SAE:,} latents, float32, tasks reconstruction, "
        "perplexity and overlap; in brackets what the peak is above model and SAEs.\n\n" + "\n".join(rows)
    )


def _make_model(folder: Path) -> int:
    """Bytes of a model of random weights, saved with the microworld's tokenizer."""
    config = GPT2Config(bos_token_id=0, eos_token_id=1, pad_token_id=2)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    for file in microworld.MODEL_FOLDER.glob("*token*"):
        (folder / file.name).write_bytes(file.read_bytes())
    return sum(parameter.nbytes for parameter in model.parameters())


def _suite(count: int) -> dict[str, Any]:
    saes = [{"name": f"sae-{number}", "source": "pretrained", "path": f"sae-{number}"} for number in range(count)]
    return {
        "name": "size",
        "models": [{"name": "gpt2-shape", "path": "model"}],
        "compressors": ["dense", "rtn-4"],
        "saes": saes,
        "tasks": ["reconstruction", "perplexity", "overlap"],
        "data": {"text": "microworld", "tokens": 1024, "context": _CONTEXT},
    }
