"""What SAEs cost to make and to keep.

FLOPs are counted, not measured, as Kaplan et al. count them (arXiv 2001.08361, section 2.1): 2 for every weight and
token in a forward pass, 4 more in the backward pass. An SAE's weights are those of its two matrices. What the losses
beside the reconstruction take (TopK's auxiliary loss, the nested SAEs of a matryoshka) is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from .entry import SaeEntry
from .quantised import is_int8

if TYPE_CHECKING:
    from sae_lens import SAE


@dataclass(frozen=True)
class Cost:
    """What making an SAE took; what several SAEs share is counted for each of them as if it were alone."""

    seconds: float
    """Wall time, that of producing the activations included."""
    capture_seconds: float
    """Of these, what producing the activations took."""
    tokens: int
    """Tokens of activations read; 0 where none are needed."""
    steps: int
    """Optimiser steps; 0 where nothing is trained."""
    flops: float
    """Of the SAE and of the model that gave the activations; 0 where nothing was read."""


def training_flops(entry: SaeEntry, tokens: int) -> float:
    """Forward and backward, of both matrices."""
    return 6.0 * 2 * entry.d_in * entry.d_sae * tokens


def encoding_flops(entry: SaeEntry, tokens: int) -> float:
    """Forward, of the encoder's matrix."""
    return 2.0 * entry.d_in * entry.d_sae * tokens


def facts(sae: SAE[Any]) -> dict[str, str | int]:
    """What an SAE is and how large: architecture, widths, parameters, those that are not zero, bytes.

    `size_bytes` is what it takes in memory, `smallest_bytes` the smallest of the layouts that keep every weight as it
    is: as it is held; each matrix with a bit for every weight that says whether it is zero, and those that are not;
    each matrix as 8-bit numbers with a scale for every latent, where its weights are such numbers.
    """
    parameters = list(sae.parameters())
    return {
        "architecture": sae.cfg.architecture(),
        "d_in": sae.cfg.d_in,
        "d_sae": sae.cfg.d_sae,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "nonzero_parameters": sum(int(parameter.count_nonzero()) for parameter in parameters),
        "size_bytes": sum(parameter.nbytes for parameter in parameters),
        "smallest_bytes": sum(_smallest(name, parameter) for name, parameter in sae.named_parameters()),
    }


def _smallest(name: str, weights: Tensor) -> int:
    if weights.ndim != 2:
        return weights.nbytes
    sparse = int(weights.count_nonzero()) * weights.element_size() + -(-weights.numel() // 8)
    rows = weights if name == "W_dec" else weights.T
    eight_bits = weights.numel() + rows.shape[0] * weights.element_size()
    return min(weights.nbytes, sparse, *([eight_bits] if is_int8(rows) else []))
