"""2:4 semi-structured storage: two of any four consecutive inputs with their places, for sparse tensor cores.

Nothing is pruned and no value changes. Weights that already have at most two non-zeros of any four consecutive inputs
of a row are packed by `torch.sparse.to_sparse_semi_structured`: half of the numbers and 2 bits for the place of each,
9 bits a weight in half precision. It is the last link of a chain, as `[{method: wanda, sparsity: "2:4"},
semi-structured]`. Products run on the sparse tensor cores of NVIDIA GPUs through cuSPARSELt; on nothing else.
Source: Mishra et al. 2021, Accelerating Sparse Deep Neural Networks, arXiv 2104.08378.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...calibration import Calibration
from ...errors import Impossible, RegistryError
from ..linear import LinearLayer
from ..method import Method
from ..promise import Promise
from .layers import as_linear, dense_layers, missing_cuda, refuse_off_cuda

_KEPT, _GROUP = 2, 4
_MULTIPLE = 16
"""What both sides of a matrix in half precision must be a multiple of; see
`torch.sparse.SparseSemiStructuredTensorCUSPARSELT`."""


def semi_structured(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
) -> PreTrainedModel:
    """Pack every linear layer of the blocks, all of which must be pruned 2:4 already.

    Raises:
        Impossible: no GPU with sparse tensor cores, a torch without cuSPARSELt, a model that is not in half precision,
            or a matrix whose sides are no multiple of 16.
        RegistryError: a matrix that is not pruned 2:4. Nothing is changed in any of these cases.
    """
    layers = dense_layers(model)
    refuse_off_cuda(layers, "2:4 semi-structured storage", (torch.bfloat16, torch.float16))
    if not torch.backends.cusparselt.is_available():
        raise Impossible(f"2:4 semi-structured storage needs cuSPARSELt, which torch {torch.__version__} lacks here.")
    _refuse_odd_shapes(layers)
    _refuse_fuller(layers)
    for layer in as_linear(model):
        layer.module.weight = nn.Parameter(_packed(layer.weight), requires_grad=False)
    return model


def _packed(weight: Float[Tensor, "out in"]) -> Tensor:
    with warnings.catch_warnings():
        # "The PyTorch API of SparseSemiStructuredTensor is in prototype stage", once a process.
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse.to_sparse_semi_structured(weight.contiguous())


def _refuse_odd_shapes(layers: Sequence[LinearLayer]) -> None:
    odd = [layer for layer in layers if any(side % _MULTIPLE for side in layer.shape)]
    if odd:
        raise Impossible(
            f"2:4 semi-structured storage needs matrices whose sides are multiples of {_MULTIPLE}; {odd[0].name} is "
            f"{odd[0].shape[0]} x {odd[0].shape[1]} ({len(odd)} such layers)."
        )


def _refuse_fuller(layers: Sequence[LinearLayer]) -> None:
    fuller = [layer.name for layer in layers if _fullest(layer.weight) > _KEPT]
    if fuller:
        raise RegistryError(
            f"{len(fuller)} matrices are not pruned 2:4, as {fuller[0]}: of some four consecutive inputs more than two "
            'are not zero. This step only stores; put one that prunes before it, as {method: wanda, sparsity: "2:4"}.'
        )


def _fullest(weight: Float[Tensor, "out in"]) -> int:
    return int((weight.reshape(-1, _GROUP) != 0).sum(dim=1).max())


def _promise(_params: dict[str, Any]) -> Promise:
    return Promise()


SEMI_STRUCTURED = Method(
    name="semi-structured",
    function=semi_structured,
    tier="kernel",
    needs_calibration=False,
    summary="stores weights that are already pruned 2:4 for sparse tensor cores; CUDA and half precision only",
    source="https://arxiv.org/abs/2104.08378",
    promise=_promise,
    missing=missing_cuda,
)
