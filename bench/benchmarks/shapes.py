"""SAEs of random weights, for figures of cost."""

from __future__ import annotations

from typing import Any

import torch
from sae_lens import SAE

from ...registry.saes.folder import ready


def random_sae(d_in: int, d_sae: int, k: int, hook_name: str) -> SAE[Any]:
    """A TopK SAE whose latents point in directions drawn from torch's generator.

    Encoder and decoder agree, so that what it makes of activations has something to do with them.
    """
    metadata = {"hook_name": hook_name, "prepend_bos": True, "context_size": 128, "model_name": "random"}
    sae = ready(SAE.from_dict({"architecture": "topk", "d_in": d_in, "d_sae": d_sae, "k": k, "metadata": metadata}))
    with torch.no_grad():
        directions = torch.randn(d_sae, d_in)
        sae.W_dec.copy_(directions / directions.norm(dim=1, keepdim=True))
        sae.W_enc.copy_(sae.W_dec.T)
    return sae
