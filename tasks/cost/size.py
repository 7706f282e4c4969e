"""Bytes of a model on disk: those of a file that holds every tensor as it is stored in memory, shared ones once.

The file is written, but to nowhere: only its bytes are counted. It is PyTorch's format, which keeps the storage of
every library's own tensors; safetensors differs from it by a few hundred bytes a tensor.
"""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import nn


class _Nowhere(io.BytesIO):
    """Takes everything and keeps its length."""

    def __init__(self) -> None:
        super().__init__()
        self.n_bytes = 0

    def write(self, content: Any, /) -> int:
        """Count some bytes."""
        self.n_bytes += len(content)
        return len(content)


def bytes_on_disk(model: nn.Module) -> int:
    """Bytes of the file that saving the model's state would write."""
    file = _Nowhere()
    torch.save(model.state_dict(), file)
    return file.n_bytes
