"""Making a linear layer smaller: rows and columns are taken out of its module, which stays the same object.

So hooks on the module stay, and nothing that refers to it has to be told. The model notes what is left.
"""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...errors import RegistryError
from ...structure import KeptFeatures, note_kept_features
from ..linear import layer_at


def keep_features(model: PreTrainedModel, name: str, kept: KeptFeatures) -> None:
    """Leave the linear layer at that module path only some of its present outputs and inputs.

    Raises:
        RegistryError: a library holds the layer in its own storage.
    """
    layer = layer_at(model, name)
    if layer is None or layer.storage not in ("linear", "conv1d"):
        kind = type(model.get_submodule(name)).__name__
        raise RegistryError(
            f"{name} is held by a library ({kind}) and cannot be made smaller. In a chain, take heads, neurons and "
            "blocks out first."
        )
    module, transposed = layer.module, layer.storage == "conv1d"
    weight = _of_rows(_of_rows(layer.weight, kept.outputs).T, kept.inputs)
    module.weight = _parameter(weight if transposed else weight.T, module.weight)
    if module.bias is not None:
        module.bias = _parameter(_of_rows(module.bias.detach(), kept.outputs), module.bias)
    in_features, out_features = weight.shape
    if transposed:
        module.nx, module.nf = in_features, out_features
    else:
        module.in_features, module.out_features = in_features, out_features
    note_kept_features(model, name, kept)


def _of_rows(tensor: Tensor, kept: Int[Tensor, " left"] | None) -> Tensor:
    return tensor if kept is None else tensor[kept.to(tensor.device)]


def _parameter(value: Tensor, like: nn.Parameter) -> nn.Parameter:
    """Memory of its own, so that what was taken out is freed."""
    return nn.Parameter(value.contiguous().clone(), requires_grad=like.requires_grad)
