"""One view of every linear layer: `nn.Linear`, GPT-2's `Conv1D` (stored transposed), bitsandbytes' and torchao's.

Only layers inside the blocks are ever listed: embeddings, unembedding and norms are no target of compression.
GPT-2's blocks hold no `nn.Linear` at all, so code that looks for one alone compresses nothing there and says nothing;
code that forgets the transposition prunes along the wrong axis, which the overall sparsity does not show.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.sparse import SparseSemiStructuredTensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from ..errors import Impossible, RegistryError
from ..families import blocks_of, family_of

Storage = Literal["linear", "conv1d", "int8", "4bit", "tensor", "opaque"]
"""Who holds the weight: `nn.Linear`, `Conv1D`, bitsandbytes (8 or 4 bits), a tensor that is more than its numbers
(torchao; 2:4 sparse), or a module of a make that is not known here."""
_PACKED = "_saetransfer_packed_bytes"


@dataclass(frozen=True, eq=False)
class LinearLayer:
    """A linear layer as the matrix `[out, in]` of `y = W x + b`, whatever its storage."""

    name: str
    """Module path within the model, or within the block where it was listed from a block."""
    module: Any
    """An `nn.Module`; with a `weight`, unless it is opaque."""
    storage: Storage
    opaque_shape: tuple[int, int] | None = None
    """Output and input features of a module that does not say."""

    @property
    def shape(self) -> tuple[int, int]:
        """Output and input features."""
        if self.storage == "conv1d":
            in_features, out_features = self.module.weight.shape
            return out_features, in_features
        if self.opaque_shape is not None:
            return self.opaque_shape
        return self.module.out_features, self.module.in_features

    @property
    def weight(self) -> Float[Tensor, "out in"]:
        """The matrix, not to be changed but through `set_weight`.

        A view of the stored weight where that is dense, a dequantised copy where a library holds it.
        """
        if self.storage == "linear":
            return self.module.weight.detach()
        if self.storage == "conv1d":
            return self.module.weight.detach().T
        if self.storage == "int8":
            return _dequantise_int8(self.module)
        if self.storage == "4bit":
            return _dequantise_4bit(self.module)
        return _dense(self.module.weight) if self.storage == "tensor" else _response(self.module, self.shape[1])

    def set_weight(self, weight: Float[Tensor, "out in"]) -> None:
        """Write the matrix back, in the stored orientation and dtype.

        Raises:
            RegistryError: a library holds the layer in its own storage.
            ValueError: a matrix of another shape.
        """
        if self.storage not in ("linear", "conv1d"):
            holder = self.module.weight if self.storage == "tensor" else self.module
            raise RegistryError(
                f"{self.name} is already quantised by a library ({type(holder).__name__}) and cannot be changed "
                "any more. In a chain, prune first and put the step of the library last."
            )
        if tuple(weight.shape) != self.shape:
            raise ValueError(f"{self.name} holds a matrix of shape {self.shape}, got {tuple(weight.shape)}")
        with torch.no_grad():
            self.module.weight.copy_(weight.T if self.storage == "conv1d" else weight)

    @property
    def stored_bytes(self) -> int:
        """Bytes of the stored weight with its scales; the bias is not counted."""
        held = self.module.parameters() if self.storage == "opaque" else [self.module.weight]
        beside = self.module.buffers() if self.storage == "opaque" else self.quantisation_tensors
        return sum(stored_nbytes(tensor) for tensor in (*held, *beside))

    @property
    def overhead_bytes(self) -> int:
        """Those of the stored bytes that are no weights: scales, zero points and code books; of a mask none."""
        if self.storage == "tensor":
            weight = self.module.weight
            # torchao calls the rounded numbers `qdata` in all its tensors; a make without them is taken as a whole.
            return stored_nbytes(weight) - stored_nbytes(getattr(weight, "qdata", weight))
        return sum(tensor.nbytes for tensor in self.quantisation_tensors)

    @property
    def value_bits(self) -> float:
        """Bits in which one weight is stored, scales not counted; where zeros are left out, one of the others."""
        if self.storage == "tensor" and isinstance(self.module.weight, SparseSemiStructuredTensor):
            return 8 * self.module.weight.element_size()
        return 8 * (self.packed_bytes - self.overhead_bytes) / math.prod(self.shape)

    @property
    def packed_bytes(self) -> int:
        """Bytes of the weight with its scales where it came from: fewer than are stored where that was unpacked."""
        return getattr(self.module, _PACKED, self.stored_bytes)

    @property
    def quantisation_tensors(self) -> list[Tensor]:
        """Scales and code books that bitsandbytes keeps beside the weight, where no parameter lists them."""
        if self.storage == "int8":
            return [_int8_scales(self.module)]
        if self.storage == "4bit":
            state = self.module.weight.quant_state
            nested = [state.state2.absmax, state.state2.code, state.offset] if state.nested else []
            return [state.absmax, state.code, *nested]
        return []


def linear_layers(root: nn.Module) -> list[LinearLayer]:
    """The linear layers of a block, or of all blocks of a model, in the order of the modules.

    Args:
        root: a causal language model, whose blocks alone are searched, or any module within a block.
    """
    if isinstance(root, PreTrainedModel):
        path = family_of(root.config).blocks
        return [
            LinearLayer(f"{path}.{index}.{layer.name}", layer.module, layer.storage)
            for index, block in enumerate(blocks_of(root))
            for layer in linear_layers(block)
        ]
    return [layer for name, module in root.named_modules() if (layer := _layer(name, module)) is not None]


def layer_at(model: PreTrainedModel, name: str, in_features: int | None = None) -> LinearLayer | None:
    """The linear layer at that module path, or None where there is none (any more).

    Args:
        in_features: where given, a module of a make that is not known here counts as a linear layer too, if it takes
            that many inputs; its matrix is read off what it does to unit vectors.
    """
    try:
        module = model.get_submodule(name)
    except AttributeError:
        return None
    known = _layer(name, module)
    if known is not None or in_features is None:
        return known
    try:
        out_features = _response(module, in_features).shape[0]
    except (RuntimeError, TypeError, AttributeError, IndexError, NotImplementedError, ValueError):
        return None
    return LinearLayer(name, module, "opaque", (out_features, in_features))


def refuse_odd_groups(layers: Sequence[LinearLayer], group_size: int | None) -> None:
    """Say where groups of consecutive inputs cannot be had.

    Raises:
        Impossible: a group size that does not divide the number of inputs of some layer.
    """
    odd = [layer for layer in layers if group_size is not None and layer.shape[1] % group_size]
    if odd:
        raise Impossible(
            f"Group size {group_size} does not divide the inputs of {len(odd)} layers, as {odd[0].name} "
            f"({odd[0].shape[1]} inputs)."
        )


def note_packed_bytes(module: nn.Module, n_bytes: int) -> None:
    """Note how many bytes a checkpoint has for a layer that was unpacked on loading."""
    setattr(module, _PACKED, n_bytes)


def stored_nbytes(tensor: Tensor) -> int:
    """Bytes that a tensor occupies; of one that is made of others (torchao, 2:4 sparse), theirs."""
    if not is_composed(tensor):
        return tensor.nbytes
    names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
    return sum(stored_nbytes(getattr(tensor, name)) for name in names)


def is_composed(tensor: Tensor) -> bool:
    """Whether a tensor is a wrapper of others, as torchao's quantised and torch's 2:4 sparse ones are."""
    return hasattr(tensor, "__tensor_flatten__")


def _layer(name: str, module: nn.Module) -> LinearLayer | None:
    storage = _storage(module)
    return None if storage is None else LinearLayer(name, module, storage)


def _storage(module: nn.Module) -> Storage | None:
    # A module of bitsandbytes can only exist where bitsandbytes is imported, and importing it takes a second.
    bitsandbytes = sys.modules.get("bitsandbytes")
    if bitsandbytes is not None:
        if isinstance(module, bitsandbytes.nn.Linear8bitLt):
            return "int8"
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            return "4bit"
    if isinstance(module, nn.Linear):
        return "tensor" if is_composed(module.weight) else "linear"
    return "conv1d" if isinstance(module, Conv1D) else None


def _dense(weight: Any) -> Float[Tensor, "out in"]:
    """The matrix that a wrapper of tensors stands for, in the dtype that it claims."""
    if type(weight).dequantize is not Tensor.dequantize:
        return weight.detach().dequantize()
    # Without a way back of its own (torchao's int4 for CUDA, 2:4 sparse), a matrix is what it does to unit vectors.
    return functional.linear(torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device), weight.detach()).T


def _response(module: nn.Module, in_features: int) -> Float[Tensor, "out in"]:
    """The matrix of a module that is linear but for its bias: what it does to unit vectors, less what it does to 0."""
    like = next((tensor for tensor in module.parameters() if tensor.is_floating_point()), torch.zeros(()))
    unit_vectors = torch.eye(in_features, dtype=like.dtype, device=like.device)
    with torch.no_grad():
        return (module(unit_vectors) - module(torch.zeros_like(unit_vectors[:1]))).T


def _int8_scales(module: Any) -> Float[Tensor, " out"]:
    # The first forward pass moves the scales from the parameter to the module's state.
    return module.state.SCB if module.weight.SCB is None else module.weight.SCB


def _dequantise_int8(module: Any) -> Float[Tensor, "out in"]:
    return module.weight.data.float() * (_int8_scales(module).float() / 127)[:, None]


def _dequantise_4bit(module: Any) -> Float[Tensor, "out in"]:
    """The matrix that a 4-bit module multiplies with, in float32.

    On CPUs with AVX512-BF16 the first forward pass repacks the weight in place, after which `dequantize_4bit` returns
    garbage without an error. The matrix is then read off what the module does to unit vectors, in bfloat16.
    """
    from bitsandbytes.functional import dequantize_4bit

    state = module.weight.quant_state
    if not getattr(state, "packing_format_for_cpu", False):
        return dequantize_4bit(module.weight.data, state).float()
    unit_vectors = torch.eye(module.in_features, dtype=torch.bfloat16, device=module.weight.device)
    bias, module.bias = module.bias, None
    try:
        with torch.no_grad():
            return module(unit_vectors).T.float()
    finally:
        module.bias = bias
