"""torchao on a live model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from saetransfer.registry.compressors.kernels import torchao as kernels
from saetransfer.registry.compressors.linear import LinearLayer, linear_layers
from saetransfer.registry.compressors.method import compress
from saetransfer.registry.compressors.outcome import NotCompressed
from saetransfer.registry.compressors.promise import Promise
from saetransfer.registry.compressors.snapshot import DenseSnapshot
from saetransfer.registry.compressors.verify import verify
from saetransfer.registry.errors import Impossible, RegistryError
from tests.registry.compressors.common import (
    FAMILIES,
    compressed,
    compressor,
    needs_torchao,
    verified,
    weights,
    wide_toy,
)
from tests.toys import toy_model, toy_tokens

pytestmark = needs_torchao
NAMES = ["torchao-int8", "torchao-intx-4-g32", "torchao-float8"]
ASYMMETRIC = {"name": "a", "method": "torchao-intx", "bits": 4, "group_size": 32, "symmetric": False}
INT8_G32 = {"name": "g", "method": "torchao-int8", "group_size": 32}


@pytest.mark.parametrize("group_size", [None, 32])
@pytest.mark.parametrize("family", FAMILIES)
def test_int8_is_what_its_definition_says(family: str, group_size: int | None) -> None:
    model = wide_toy(family)
    dense = weights(model)
    result = compressed(model, {"name": "t", "method": "torchao-int8", "group_size": group_size})
    for name, weight in weights(result).items():
        groups = dense[name].reshape(-1, group_size or weight.shape[1])
        step = groups.abs().amax(dim=1, keepdim=True) / 127.5
        assert_nearest(weight.view_as(groups) / step, groups / step, torch.tensor(-128), torch.tensor(127))


@pytest.mark.parametrize("group_size", [None, 32])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8])
def test_intx_is_what_its_definition_says(bits: int, symmetric: bool, group_size: int | None) -> None:
    model = wide_toy("gpt2")
    dense = weights(model)
    definition = {"name": "t", "method": "torchao-intx", "bits": bits, "group_size": group_size, "symmetric": symmetric}
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    for name, weight in weights(compressed(model, definition)).items():
        groups = dense[name].reshape(-1, group_size or weight.shape[1])
        least, most = groups.amin(dim=1, keepdim=True).clamp(max=0), groups.amax(dim=1, keepdim=True).clamp(min=0)
        step = (2 * torch.maximum(-least, most) if symmetric else most - least) / (high - low)
        zero = torch.zeros_like(step) if symmetric else (low - (least / step).round()).clamp(low, high)
        assert_nearest(weight.view_as(groups) / step, groups / step, low - zero, high - zero)


@pytest.mark.parametrize("family", FAMILIES)
def test_float8_is_what_its_definition_says(family: str) -> None:
    model = wide_toy(family)
    dense = weights(model)
    for name, weight in weights(compressed(model, "torchao-float8")).items():
        scale = dense[name].abs().amax(dim=1, keepdim=True) / 448
        expected = (dense[name] / scale).to(torch.float8_e4m3fn).float() * scale
        torch.testing.assert_close(weight, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("definition", [*NAMES, ASYMMETRIC, INT8_G32], ids=str)
def test_a_module_computes_with_the_matrix_that_is_read_from_it(
    definition: str | Mapping[str, Any], dtype: torch.dtype
) -> None:
    for layer in linear_layers(compressed(wide_toy("gpt2", dtype), definition)):
        inputs = torch.randn(2, 5, layer.shape[1], generator=torch.Generator().manual_seed(0)).to(dtype)
        with torch.no_grad():
            expected = functional.linear(inputs.float(), layer.weight.float(), layer.module.bias.float())
            difference = layer.module(inputs).float() - expected
        assert layer.weight.dtype == dtype
        assert difference.norm() <= 3 * torch.finfo(dtype).eps * expected.norm(), layer.name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_blocks_are_changed_and_tied_weights_stay_tied(family: str, name: str) -> None:
    model = wide_toy(family)
    result = compressed(model, name)
    head = result.lm_head.weight
    assert type(head) is nn.Parameter
    assert (head is result.get_input_embeddings().weight) == model.config.tie_word_embeddings
    assert torch.equal(head, model.lm_head.weight)
    assert {layer.storage for layer in linear_layers(result)} == {"tensor"}
    assert {type(layer.module) for layer in linear_layers(result)} == {nn.Linear}
    assert list(dict(result.named_parameters())) == list(dict(model.named_parameters()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_a_copy_is_the_same_and_does_not_share(name: str, dtype: torch.dtype) -> None:
    result = compressed(wide_toy("gpt2", dtype), name)
    before = weights(result)
    twin = copy.deepcopy(result)
    for layer in linear_layers(twin):
        assert torch.equal(layer.weight, before[layer.name])
        layer.module.weight.qdata.zero_()
    assert all(torch.equal(value, before[key]) for key, value in weights(result).items())


@pytest.mark.parametrize(
    # A scale, in float32 or in the model's dtype, and a zero point of eight bits but for float8.
    ("definition", "bits", "group_size", "overhead_bits"),
    [
        ("torchao-int8", 8, None, {torch.float32: 40, torch.bfloat16: 40}),
        (INT8_G32, 8, 32, {torch.float32: 40, torch.bfloat16: 40}),
        ("torchao-intx-4-g32", 4, 32, {torch.float32: 40, torch.bfloat16: 24}),
        (ASYMMETRIC, 4, 32, {torch.float32: 40, torch.bfloat16: 24}),
        ("torchao-float8", 8, None, {torch.float32: 32, torch.bfloat16: 32}),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sizes_are_what_is_stored(
    definition: str | Mapping[str, Any],
    bits: int,
    group_size: int | None,
    overhead_bits: Mapping[torch.dtype, int],
    dtype: torch.dtype,
) -> None:
    realised = verified(wide_toy("gpt2", dtype), compressor(definition))[1]
    saved_bits = 0.0
    for matrix in realised.matrices:
        overhead = overhead_bits[dtype] / (group_size or matrix.shape[1])
        assert matrix.effective_bits == bits + overhead
        # Every number takes eight bits, however few it needs.
        saved_bits += matrix.shape[0] * matrix.shape[1] * (8 * dtype.itemsize - 8 - overhead)
    assert realised.bytes.dense - realised.bytes.actual == saved_bits / 8
    assert realised.bytes.theoretical <= realised.bytes.actual


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("last", [*NAMES, ASYMMETRIC, INT8_G32], ids=str)
def test_quantising_what_was_pruned_keeps_the_zeros(last: str | Mapping[str, Any], dtype: torch.dtype) -> None:
    model = wide_toy("gpt2", dtype)
    pruned = weights(compressed(model, "wanda-50"))
    result, realised = verified(model, compressor({"name": "both", "chain": ["wanda-50", last]}))
    assert realised.verified
    assert realised.sparsity >= 0.5
    assert all((weight[pruned[name] == 0] == 0).all() for name, weight in weights(result).items())


@pytest.mark.parametrize(
    ("first", "last"), [("torchao-int8", "rtn-4"), ("torchao-intx-4-g32", "bnb-nf4"), ("bnb-int8", "torchao-float8")]
)
def test_nothing_can_follow_a_librarys_step(first: str, last: str) -> None:
    with pytest.raises(RegistryError, match="already quantised by a library"):
        compressed(wide_toy("llama"), {"name": "both", "chain": [first, last]})


def test_verification_counts_the_levels_of_a_librarys_tensor() -> None:
    model = wide_toy("llama")
    with DenseSnapshot(model, toy_tokens()) as snapshot:
        result = compressed(model, "torchao-intx-4-g32")
        with pytest.raises(NotCompressed, match=r"3 bits were promised, but more than 8 levels in .*q_proj \(1[3-6]\)"):
            verify(result, snapshot, Promise(bits=3, group_size=32))


@pytest.mark.parametrize("name", ["torchao-int8-g128", "torchao-intx-4-g32"])
def test_a_group_size_that_does_not_divide_the_inputs_is_refused(name: str) -> None:
    model = toy_model("llama")
    before = weights(model)
    with pytest.raises(Impossible, match=r"Group size \d+ does not divide the inputs of \d+ layers, as model.layers.0"):
        compress(model, compressor(name), None)
    assert all(torch.equal(value, before[key]) for key, value in weights(model).items())


def test_a_row_of_zeros_is_refused_where_the_library_would_make_nan_of_it() -> None:
    model = wide_toy("gpt2")
    model.get_parameter("transformer.h.1.mlp.c_fc.weight").data[:, 3] = 0
    before = weights(model)
    with pytest.raises(Impossible, match="NaN of a row of zeros, and 1 layers have one, as transformer.h.1.mlp.c_fc"):
        compress(model, compressor("torchao-float8"), None)
    assert all(torch.equal(value, before[key]) for key, value in weights(model).items())
    assert verified(model, compressor("torchao-int8"))[1].verified


def test_settings_of_the_process_are_left_alone() -> None:
    from torch._inductor import config

    before = config.coordinate_descent_tuning, config.force_fuse_int_mm_with_mul
    for name in NAMES:
        compressed(wide_toy("llama"), name)
    assert (config.coordinate_descent_tuning, config.force_fuse_int_mm_with_mul) == before
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("family", FAMILIES)
def test_int4_asks_for_every_matrix_of_the_blocks_in_the_format_of_cuda(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = wide_toy(family, torch.bfloat16), {}
    names = [layer.name for layer in linear_layers(model)]

    def quantise(model: nn.Module, config: Any, filter_fn: Any) -> None:
        asked.update({name: config for name, module in model.named_modules() if filter_fn(module, name)})

    monkeypatch.setattr(kernels, "refuse_off_cuda", lambda *_: None)
    monkeypatch.setattr(kernels._api(), "quantize_", quantise)
    kernels.torchao_int4(model, None, group_size=32)
    assert list(asked) == names
    assert all(isinstance(model.get_submodule(name), nn.Linear) for name in names)
    config = asked[names[0]]
    assert (config.group_size, config.int4_packing_format) == (32, "tile_packed_to_4d")
    assert not config.set_inductor_config


def test_int4_refuses_what_it_would_bring_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "refuse_off_cuda", lambda *_: None)
    model = compressed(wide_toy("llama", torch.bfloat16), "wanda-50")
    with pytest.raises(Impossible, match=r"50% of model.layers.0.* are zeros, and torchao's int4 has no level at zero"):
        kernels.torchao_int4(model, None, group_size=32)
    with pytest.raises(Impossible, match="Group size 128 does not divide"):
        kernels.torchao_int4(model, None)


@pytest.mark.parametrize("error", [ImportError("no module"), AttributeError("torch has no attribute int1")])
def test_a_library_that_cannot_be_used_is_named_with_the_command_that_installs_it(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(kernels, "_api", fail)
    text = kernels.missing_torchao.__wrapped__()
    assert str(error) in text
    assert "pip install 'torchao>=0.17'" in text


def test_an_unknown_make_of_tensor_counts_whole_as_weights() -> None:
    class Wrapper(torch.Tensor):
        part: torch.Tensor

        def __tensor_flatten__(self) -> tuple[list[str], None]:
            return ["part"], None

    module = nn.Linear(4, 2, bias=False)
    wrapped = torch.zeros(2, 4).as_subclass(Wrapper)
    wrapped.part = torch.zeros(2, 4, dtype=torch.int8)
    module._parameters["weight"] = wrapped  # type: ignore[assignment]
    layer = LinearLayer("lone", module, "tensor")
    assert (layer.stored_bytes, layer.overhead_bytes, layer.value_bits) == (8, 0, 8)


def assert_nearest(rounded: torch.Tensor, exact: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> None:
    """Whole numbers within the range, and of these the nearest: which of two equally near is left open."""
    assert ((rounded - rounded.round()).abs() <= 1e-3).all()
    assert ((rounded.round() >= low) & (rounded.round() <= high)).all()
    assert ((rounded - exact.clamp(low, high)).abs() <= 0.5 + 1e-3).all()
