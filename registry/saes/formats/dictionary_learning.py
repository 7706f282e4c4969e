"""The dictionary_learning library: a folder with `config.json` and `ae.pt`.

What each of its classes computes: saprmarks/dictionary_learning, dictionary.py and trainers/top_k.py. Differences of
kind that matter: `JumpReluAutoEncoder` and `AutoEncoderNew` leave `b_dec` in their inputs, the others take it off;
BatchTopK and its Matryoshka cut by one threshold; TopK also stores a threshold and does not use it. SAELens' loader
(`dictionary_learning_sae_huggingface_loader_1`) agrees, and knows no `AutoEncoderNew`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import RegistryError, unknown
from .kind import Format, Raw

_CLASSES = {
    "AutoEncoder": ("standard", True),
    "AutoEncoderNew": ("standard", False),
    "GatedAutoEncoder": ("gated", True),
    "JumpReluAutoEncoder": ("jumprelu", False),
    "AutoEncoderTopK": ("topk", True),
    "BatchTopKSAE": ("jumprelu", True),
    "MatryoshkaBatchTopKSAE": ("jumprelu", True),
}
"""SAELens' architecture, and whether `b_dec` is taken off the input."""
_NAMES = {
    "encoder.weight": "W_enc",
    "encoder.bias": "b_enc",
    "decoder.weight": "W_dec",
    "decoder.bias": "b_dec",
    "bias": "b_dec",
    "decoder_bias": "b_dec",
    "mag_bias": "b_mag",
    "gate_bias": "b_gate",
}
_NOT_WEIGHTS = ("k", "threshold", "group_sizes")
"""Settings of training among the tensors; a threshold is a weight of those that cut by it."""


def _describe(path: Path, settings: Mapping[str, Any], raw: Raw) -> dict[str, Any]:
    trainer, buffer = settings.get("trainer") or {}, settings.get("buffer") or {}
    name = str(trainer.get("dict_class"))
    if "crosscoder" in name.lower() or "transcoder" in name.lower():
        raise RegistryError(
            f"'{path}' is a {name}: it reads or predicts more places of the model than one, so there is nothing to "
            f"put its output back into. SAEs of one site are supported: {', '.join(_CLASSES)}."
        )
    if name not in _CLASSES:
        raise RegistryError(f"'{path}': {unknown('dict_class', name, _CLASSES)}")
    architecture, apply_b_dec_to_input = _CLASSES[name]
    d_in, d_sae = _convert(raw, architecture)["W_enc"].shape
    layer, place = trainer.get("layer"), str(trainer.get("submodule_name") or "")
    batch = {"training_architecture": "batchtopk", "training_architecture_details": {"k": trainer.get("k")}}
    return {
        "architecture": architecture,
        "d_in": d_in,
        "d_sae": d_sae,
        "apply_b_dec_to_input": apply_b_dec_to_input,
        **({"k": trainer.get("k")} if architecture == "topk" else {}),
        "metadata": {
            # Other submodules are named at will: only this one says what it is.
            "hook_name": f"blocks.{layer}.hook_resid_post" if place.startswith("resid_post") else None,
            "model_name": trainer.get("lm_name"),
            "prepend_bos": None,
            "context_size": buffer.get("ctx_len"),
            **(batch if name == "BatchTopKSAE" else {}),
        },
    }


def _convert(raw: Raw, architecture: str) -> dict[str, Tensor]:
    named = {_NAMES.get(name, name): value for name, value in raw.items() if name not in _NOT_WEIGHTS}
    # Linear layers keep [out, in], the library's own parameters [in, out].
    named |= {_NAMES[name]: raw[name].T for name in ("encoder.weight", "decoder.weight") if name in raw}
    if "threshold" in raw and architecture == "jumprelu":
        named["threshold"] = raw["threshold"].expand(named["W_enc"].shape[1])
    return named


DICTIONARY_LEARNING = Format(
    "dictionary-learning",
    "ae.pt",
    "config.json",
    _describe,
    _convert,
    (("W_enc", "encoder.weight"), ("W_dec", "decoder.weight")),
)
