"""SAEs whose matrices are rounded to 8 bits, and held in float32 like any other.

Every latent has a scale for its encoder and one for its decoder: the largest weight over 127, to a multiple of which
all its weights are rounded. Biases and thresholds stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from sae_lens import SAE

_LEVELS = 127
_CLOSE = 1e-3


@torch.no_grad()
def to_int8(sae: SAE[Any]) -> None:
    """Round both matrices, in place."""
    sae.W_enc.copy_(_rounded(sae.W_enc.T).T)
    sae.W_dec.copy_(_rounded(sae.W_dec))


def is_int8(rows: Float[Tensor, "latent channel"]) -> bool:
    """Whether the weights of every latent are whole multiples, up to 127, of one number."""
    multiples = rows / _scales(rows)
    return bool(((multiples - multiples.round()).abs() < _CLOSE).all())


def _rounded(rows: Float[Tensor, "latent channel"]) -> Float[Tensor, "latent channel"]:
    scales = _scales(rows)
    return (rows / scales).round() * scales


def _scales(rows: Float[Tensor, "latent channel"]) -> Float[Tensor, "latent 1"]:
    largest = rows.abs().amax(dim=1, keepdim=True)
    return torch.where(largest > 0, largest, 1.0) / _LEVELS
