"""OpenAI's SAEs of GPT-2 small (arXiv 2406.04093): a `.pt` file as openai/sparse_autoencoder, model.py, writes it.

TopK SAEs (v5) take inputs after a layer norm without weights, which decoding undoes; ReLU ones (v1, v4) take them as
they are. `pre_bias` is subtracted before the encoder and added after the decoder. They were trained on
`from_pretrained("gpt2", center_writing_weights=False)`, whose residual stream and MLP outputs are the model's own, and
on contexts of 64 tokens. The file says neither site nor BOS.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import RegistryError
from .kind import Format, Raw

_NAMES = {"encoder.weight": "W_enc", "latent_bias": "b_enc", "decoder.weight": "W_dec", "pre_bias": "b_dec"}
_STATISTICS = ("stats_last_nonzero", "latents_activation_frequency", "latents_mean_square")


def _describe(path: Path, _settings: Mapping[str, Any], raw: Raw) -> dict[str, Any]:
    activation, details = raw.get("activation", "ReLU"), raw.get("activation_state_dict") or {}
    top_k = activation == "TopK"
    if activation not in ("ReLU", "TopK") or (top_k and details.get("postact_fn", "ReLU") != "ReLU"):
        raise RegistryError(f"'{path}' activates its latents by {activation} {details}; ReLU and TopK are supported.")
    d_sae, d_in = raw["encoder.weight"].shape
    return {
        "architecture": "topk" if top_k else "standard",
        "d_in": d_in,
        "d_sae": d_sae,
        **({"k": details.get("k")} if top_k else {}),
        "apply_b_dec_to_input": True,
        "normalize_activations": "layer_norm" if top_k else "none",
        "metadata": {"hook_name": None, "model_name": "gpt2", "prepend_bos": None, "context_size": 64},
    }


def _convert(raw: Raw, _architecture: str) -> dict[str, Tensor]:
    weights = {name: value for name, value in raw.items() if isinstance(value, Tensor) and name not in _STATISTICS}
    named = {_NAMES.get(name, name): value for name, value in weights.items()}
    return named | {"W_enc": raw["encoder.weight"].T, "W_dec": raw["decoder.weight"].T}


OPENAI = Format("openai", "*.pt", None, _describe, _convert, (("encoder.weight",), ("decoder.weight",), ("pre_bias",)))
