"""EleutherAI's sparsify: a folder named after a module, with `cfg.json` and `sae.safetensors`; TopK.

`SparseCoder.pre_acts` subtracts `b_dec` from the input of every SAE that is no transcoder (EleutherAI/sae,
sparsify/sparse_coder.py). SAELens' `sparsify_disk_loader` takes `normalize_decoder`, which is true of nearly all of
them, to mean that `b_dec` is *not* subtracted: its latents are other ones wherever `b_dec` is not zero. It also
transposes `W_dec`, which the library keeps as `[latent, channel]`, and takes the SAE of `layers.5.mlp` for one of the
residual stream. Here the library that trained them is followed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import RegistryError
from .kind import Format, Raw


def _describe(path: Path, settings: Mapping[str, Any], raw: Raw) -> dict[str, Any]:
    if settings.get("transcode") or settings.get("skip_connection") or settings.get("n_targets"):
        raise RegistryError(
            f"'{path}' is a transcoder: it reads one place of the model and predicts another, so there is nothing to "
            "put its output back into. SAEs of one site are supported."
        )
    activation = settings.get("activation", "topk")
    if activation != "topk" or settings.get("signed"):
        name = f"signed {activation}" if settings.get("signed") else activation
        raise RegistryError(
            f"'{path}' activates its latents by {name}, which SAELens has no SAE for; topk is supported."
        )
    d_sae, d_in = raw["W_dec"].shape
    module = re.fullmatch(r"(layers|h)[._](\d+)((?:\..+)?)", path.name)
    return {
        "architecture": "topk",
        "d_in": d_in,
        "d_sae": d_sae,
        "k": settings.get("k"),
        "apply_b_dec_to_input": True,
        "metadata": {
            "hook_name": f"{module[1]}.{module[2]}{module[3]}" if module else None,
            "prepend_bos": None,
            "context_size": None,
        },
    }


def _convert(raw: Raw, _architecture: str) -> dict[str, Tensor]:
    encoder = raw["encoder.weight"]
    zeros = torch.zeros(encoder.shape[0], dtype=encoder.dtype, device=encoder.device)
    named = {"W_enc": encoder.T, "b_enc": raw.get("encoder.bias", zeros), "W_dec": raw["W_dec"], "b_dec": raw["b_dec"]}
    return named | {name: value for name, value in raw.items() if name not in ("encoder.weight", "encoder.bias")}


SPARSIFY = Format(
    "sparsify", "sae.safetensors", "cfg.json", _describe, _convert, (("encoder.weight",), ("W_dec",), ("b_dec",))
)
