"""Gemma Scope (arXiv 2408.05147): a folder with `params.npz`, JumpReLU, `b_dec` not subtracted from inputs.

SAELens reads it by `gemma_2_sae_huggingface_loader`. Contexts of 1024 tokens with BOS: section 3 of the paper. The site
is not in the file, only in the name of the repository and of the folders that it came in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .kind import Format, Raw

_SITES = {"res": "hook_resid_post", "mlp": "hook_mlp_out", "att": "attn.hook_z"}


def _describe(path: Path, _settings: Mapping[str, Any], raw: Raw) -> dict[str, Any]:
    d_in, d_sae = raw["W_enc"].shape
    kind = re.search(r"gemma-scope-\d+b-[pi]t-(res|mlp|att)\b", str(path))
    layer = re.search(r"layer_(\d+)", str(path))
    return {
        "architecture": "jumprelu",
        "d_in": d_in,
        "d_sae": d_sae,
        "apply_b_dec_to_input": False,
        "metadata": {
            "hook_name": f"blocks.{layer[1]}.{_SITES[kind[1]]}" if kind and layer else None,
            "prepend_bos": True,
            "context_size": 1024,
        },
    }


def _convert(raw: Raw, _architecture: str) -> dict[str, Tensor]:
    return dict(raw)


GEMMA_SCOPE = Format("gemma-scope", "params.npz", None, _describe, _convert, (("W_enc",),))
