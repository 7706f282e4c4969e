"""What the methods of libraries ask of a model and a machine before they change anything, and GPT-2's layers turned."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from ...errors import Impossible, RegistryError
from ..linear import LinearLayer, linear_layers

_AMPERE = (8, 0)
_GPU = "a CUDA GPU of compute capability 8.0 (Ampere) or later"


def dense_layers(model: PreTrainedModel) -> list[LinearLayer]:
    """The linear layers of the blocks, all of which still hold a dense weight.

    Raises:
        RegistryError: an earlier step left a library's storage, or a hook that would go with the module it hangs on.
    """
    layers = linear_layers(model)
    for layer in layers:
        if layer.storage not in ("linear", "conv1d"):
            raise RegistryError(f"{layer.name} is already quantised by a library; one such step is all a chain takes.")
        if layer.module._forward_pre_hooks or layer.module._forward_hooks:
            raise RegistryError(
                f"{layer.name} carries a hook of an earlier step, which a library's module would not take over. "
                "Leave one of the two steps out of the chain."
            )
    return layers


def missing_cuda() -> str | None:
    """Why a kernel for tensor cores cannot be used on this machine; None where it may."""
    if torch.cuda.is_available():
        return None
    return f"This storage needs {_GPU}, and torch {torch.__version__} sees none here"


def refuse_off_cuda(layers: Sequence[LinearLayer], what: str, dtypes: Collection[torch.dtype]) -> None:
    """Say what a kernel for tensor cores lacks in a model that is somewhere else.

    Args:
        what: the name of the storage, as a sentence begins.

    Raises:
        Impossible: a weight that is not on a CUDA GPU of the Ampere generation or later, or not of these dtypes.
    """
    for layer in layers:
        weight = layer.module.weight
        if not weight.is_cuda:
            raise Impossible(f"{what} needs {_GPU}, and the model is on {weight.device}. Run it with `--device cuda`.")
        if torch.cuda.get_device_capability(weight.device) < _AMPERE:
            raise Impossible(f"{what} needs {_GPU}, and {torch.cuda.get_device_name(weight.device)} is older.")
        if weight.dtype not in dtypes:
            allowed = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
            raise Impossible(
                f"{what} needs a model in {allowed}, and {layer.name} is {str(weight.dtype).removeprefix('torch.')}. "
                f"Give the model `dtype: {allowed.split()[0]}`."
            )


def as_linear(model: PreTrainedModel) -> list[LinearLayer]:
    """The linear layers of the blocks, GPT-2's transposed `Conv1D` replaced by `nn.Linear` of the same matrix.

    Libraries look for `nn.Linear` and pass by everything else without a word.
    """
    for layer in linear_layers(model):
        if layer.storage == "conv1d":
            model.set_submodule(layer.name, _turned(layer))
    return linear_layers(model)


def _turned(layer: LinearLayer) -> nn.Linear:
    out_features, in_features = layer.shape
    old, weight = layer.module, layer.weight.clone(memory_format=torch.contiguous_format)
    # The bias is the parameter itself: it stays where it was in the model's list.
    linear = nn.Linear(in_features, out_features, device="meta").train(old.training)
    linear.weight, linear.bias = nn.Parameter(weight, requires_grad=old.weight.requires_grad), old.bias
    return linear
