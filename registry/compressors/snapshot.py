"""What the dense model was, kept on disk while it is compressed in place.

A second copy in memory would double what a run needs. The target matrices lie as raw bytes in a temporary folder and
are read back one at a time; of everything else a checksum is enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..families import blocks_of, family_of
from .linear import linear_layers, stored_nbytes


@dataclass(frozen=True)
class Logits:
    """A forward pass on the probing batch."""

    digest: str
    """Checksum over the logits of all positions."""
    last: Float[Tensor, "batch vocabulary"]
    """Logits at the last position, float32, on the CPU."""
    finite: bool

    @classmethod
    @torch.no_grad()
    def of(cls, model: PreTrainedModel, tokens: Int[Tensor, "batch position"]) -> Logits:
        """Run `model` on `tokens` without a cache."""
        logits = model(input_ids=tokens.to(model.device), use_cache=False).logits
        return cls(digest(logits), logits[:, -1].float().cpu(), bool(logits.isfinite().all()))


class DenseSnapshot:
    """The dense model's target matrices (on disk), checksums of all else, and its logits.

    A context manager: the folder on disk is removed on leaving.

    Args:
        model: the dense model, before anything is done to it.
        tokens: a small probing batch without padding, for example one short window.
    """

    def __init__(self, model: PreTrainedModel, tokens: Int[Tensor, "batch position"]) -> None:
        self.tokens = tokens
        self.vocabulary: int = model.config.vocab_size
        self.size_bytes = sum(stored_nbytes(tensor) for _, tensor in held_tensors(model))
        self.rest = {name: digest(tensor) for name, tensor in rest_of(model)}
        self.n_blocks = len(blocks_of(model))
        self.shapes: dict[str, tuple[int, int]] = {}
        """Output and input features of every target matrix by its name."""
        self.unreached = _unreached(model)
        self.logits = Logits.of(model, tokens)
        self._folder = TemporaryDirectory(prefix="saetransfer-dense-")
        for index, layer in enumerate(linear_layers(model)):
            self.shapes[layer.name] = layer.shape
            save_file({"weight": layer.weight.contiguous()}, self._path(index))

    def __enter__(self) -> DenseSnapshot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def matrices(self) -> Iterator[tuple[str, Float[Tensor, "out in"]]]:
        """Name and dense weight of every target matrix, read one at a time onto the CPU."""
        for name in self.shapes:
            yield name, self.matrix(name)

    def matrix(self, name: str) -> Float[Tensor, "out in"]:
        """The dense weight of one target matrix, on the CPU."""
        return load_file(self._path(list(self.shapes).index(name)))["weight"]

    def _path(self, index: int) -> Path:
        return Path(self._folder.name) / f"{index}.safetensors"


def held_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, tied ones once."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def rest_of(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """All parameters but those of the blocks' linear layers: embeddings, unembedding, norms."""
    targets = {id(parameter) for layer in linear_layers(model) for parameter in layer.module.parameters()}
    return ((name, parameter) for name, parameter in model.named_parameters() if id(parameter) not in targets)


def _unreached(model: PreTrainedModel) -> dict[str, int]:
    """Weights of the blocks that no linear layer holds, and that no method sees: the fused experts of mixtures.

    Norms, biases and the like have one dimension; whatever has more multiplies.
    """
    path = family_of(model.config).blocks
    return {
        name: parameter.numel()
        for name, parameter in rest_of(model)
        if name.startswith(f"{path}.") and parameter.squeeze().ndim >= 2
    }


def digest(tensor: Tensor) -> str:
    """Checksum of a tensor's dtype, shape and bytes."""
    content = tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(
        content.data, digest_size=16, key=f"{tensor.dtype}{tuple(tensor.shape)}".encode()
    ).hexdigest()
