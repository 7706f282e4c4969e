"""The embedded default: a small world whose truth is known, and a model and two autoencoders trained on its stories.

`language.stories` tells the stories (standard library only); the folders below hold the shipped model and SAEs, made by
`python -m saetransfer.registry.microworld.train` and described in `MODEL_CARD.md`.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent

MODEL_FOLDER: Path = _HERE / "model"
"""Model and tokenizer, for `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained`."""

SAE_FOLDERS: dict[str, Path] = {
    "microworld-resid-2": _HERE / "saes" / "resid-2",
    "microworld-mlp-2": _HERE / "saes" / "mlp-2",
}
"""Name of an SAE -> its folder, for `sae_lens.SAE.load_from_disk`."""

DOWNSTREAM_FOLDER: Path = _HERE / "downstream"
"""Tasks for lm-eval about the microworld (`lm_eval --include_path`): multiple choice about its facts and agreement."""
