"""Tensors on their way from the CPU to where the model is."""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor


def onto(device: torch.device, tensor: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """The tensor on a device; towards a GPU from pinned memory, so that the CPU goes on while it travels."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
