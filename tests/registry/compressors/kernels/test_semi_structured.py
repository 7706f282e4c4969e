"""2:4 storage. Products need a GPU: here they are taken of the matrix that the packed tensor gives back."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.sparse import SparseSemiStructuredTensorCUTLASS
from torch.sparse._semi_structured_conversions import sparse_semi_structured_from_dense_cutlass

from saetransfer.registry.compressors.kernels import semi_structured as kernels
from saetransfer.registry.compressors.kernels.layers import refuse_off_cuda
from saetransfer.registry.compressors.linear import LinearLayer, linear_layers
from saetransfer.registry.compressors.method import Compressor
from saetransfer.registry.errors import Impossible, RegistryError
from tests.registry.compressors.common import FAMILIES, compressed, compressor, verified, weights, wide_toy
from tests.toys import toy_model

HALVED = {"name": "wanda-2of4", "method": "wanda", "sparsity": "2:4"}


class PackedOnCpu(SparseSemiStructuredTensorCUTLASS):
    """Packed as CUTLASS has it, in plain torch; multiplied without its kernel."""

    def _mm(
        self, B: torch.Tensor, *, bias: torch.Tensor | None = None, should_transpose_dense: bool = False, **_: Any
    ) -> torch.Tensor:
        product = B @ self.to_dense().T if should_transpose_dense else self.to_dense() @ B
        return product if bias is None else product + bias


@pytest.fixture
def _packing_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def pack(weight: torch.Tensor) -> torch.Tensor:
        assert weight.is_contiguous()
        packed, meta = sparse_semi_structured_from_dense_cutlass(weight)
        return PackedOnCpu(weight.shape, packed, meta, None, None, None)

    monkeypatch.setattr(kernels, "refuse_off_cuda", lambda *_: None)
    monkeypatch.setattr(torch.backends.cusparselt, "is_available", lambda: True)
    monkeypatch.setattr(torch.sparse, "to_sparse_semi_structured", pack)


def chain() -> Compressor:
    """Wanda 2:4 and the packing, without the question whether this machine has a GPU."""
    method = replace(kernels.SEMI_STRUCTURED, missing=lambda: None)
    return Compressor("both", (*compressor(HALVED).steps, method.step({})))


@pytest.mark.usefixtures("_packing_on_cpu")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_chain_packs_every_matrix_and_changes_no_value(family: str, dtype: torch.dtype) -> None:
    model = wide_toy(family, dtype)
    result, realised = verified(model, chain())
    assert realised.verified
    assert realised.coverage == 1.0
    assert realised.sparsity == 0.5
    # Half of the numbers, and two bits for the place of each.
    assert realised.effective_bits == 9.0
    assert realised.bytes.actual == realised.bytes.theoretical
    assert {layer.storage for layer in linear_layers(result)} == {"tensor"}
    expected = weights(compressed(model, HALVED))
    assert all(torch.equal(value, expected[name]) for name, value in weights(result).items())
    twin = weights(copy.deepcopy(result))
    assert all(torch.equal(value, expected[name]) for name, value in twin.items())


@pytest.mark.usefixtures("_packing_on_cpu")
def test_weights_that_are_not_pruned_two_of_four_are_refused() -> None:
    model = compressed(wide_toy("gpt2", torch.bfloat16), "wanda-50")
    before = weights(model)
    with pytest.raises(RegistryError, match=r'12 matrices are not pruned 2:4, as transformer.h.0.*sparsity: "2:4"'):
        kernels.semi_structured(model, None)
    assert {layer.storage for layer in linear_layers(model)} == {"conv1d"}
    assert all(torch.equal(value, before[key]) for key, value in weights(model).items())


@pytest.mark.usefixtures("_packing_on_cpu")
def test_odd_sides_and_a_torch_without_the_library_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy_model("llama", dtype=torch.bfloat16)
    model.model.layers[0].mlp.up_proj = nn.Linear(32, 40, bias=False, dtype=torch.bfloat16)
    with pytest.raises(Impossible, match=r"multiples of 16; model.layers.0.mlp.up_proj is 40 x 32 \(1 such layers\)"):
        kernels.semi_structured(model, None)
    monkeypatch.setattr(torch.backends.cusparselt, "is_available", lambda: False)
    with pytest.raises(Impossible, match="cuSPARSELt, which torch .* lacks here"):
        kernels.semi_structured(model, None)


@pytest.mark.usefixtures("_packing_on_cpu")
@pytest.mark.parametrize("last", ["rtn-4", "bnb-nf4"])
def test_nothing_can_follow(last: str) -> None:
    both = Compressor("all", (*chain().steps, *compressor(last).steps))
    with pytest.raises(RegistryError, match="already quantised by a library"):
        verified(wide_toy("llama", torch.bfloat16), both)


@pytest.mark.parametrize(
    ("device", "capability", "dtype", "complaint"),
    [
        ("cpu", None, torch.bfloat16, "needs a CUDA GPU .* and the model is on cpu. Run it with `--device cuda`"),
        ("cuda:0", (7, 5), torch.bfloat16, r"needs a CUDA GPU of compute capability 8.0 .* and Turing is older"),
        ("cuda:0", (8, 0), torch.float32, "needs a model in bfloat16 or float16, and x is float32.*dtype: bfloat16"),
    ],
)
def test_what_a_gpu_lacks_is_said(
    device: str, capability: Any, dtype: torch.dtype, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Turing")
    weight = SimpleNamespace(is_cuda=device != "cpu", device=device, dtype=dtype)
    layer = LinearLayer("x", SimpleNamespace(weight=weight), "linear")
    with pytest.raises(Impossible, match=complaint):
        refuse_off_cuda([layer], "2:4 semi-structured storage", (torch.bfloat16, torch.float16))
