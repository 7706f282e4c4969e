"""bitsandbytes on a live model."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from torch import nn
from torch.nn import functional

from saetransfer.registry.compressors.kernels import bitsandbytes as kernels
from saetransfer.registry.compressors.linear import LinearLayer, linear_layers
from saetransfer.registry.compressors.method import compress
from saetransfer.registry.errors import Impossible, RegistryError
from tests.registry.compressors.common import FAMILIES, compressed, compressor, verified, weights, wide_toy
from tests.toys import toy_model, toy_tokens

# The levels of arXiv 2305.14314, appendix E.
NF4 = torch.tensor(
    [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334]
    + [-0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224]
    + [0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
)
# A sign, two bits of exponent and one of mantissa; the lowest is halved and halved again, as the library has it.
FP4 = torch.tensor([sign * level for sign in (-1, 1) for level in (0.0, 0.0625, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)]) / 12
ALL = ["bnb-int8", "bnb-nf4", "bnb-nf4-dq", "bnb-fp4", "bnb-fp4-dq"]


@pytest.mark.parametrize(("method", "levels"), [("bnb-nf4", NF4), ("bnb-fp4", FP4)])
@pytest.mark.parametrize("family", FAMILIES)
def test_four_bits_are_what_their_definition_says(family: str, method: str, levels: torch.Tensor) -> None:
    model = wide_toy(family)
    dense = weights(model)
    for name, weight in weights(compressed(model, method)).items():
        blocks = dense[name].reshape(-1, 64)
        scale = blocks.abs().amax(dim=1, keepdim=True)
        rounded, exact = weight.view(-1, 64) / scale, blocks / scale
        assert ((rounded[..., None] - levels).abs().amin(dim=-1) <= 1e-6).all(), name
        # Of two levels that are equally far, to the last digit, either will do.
        nearest = (exact[..., None] - levels).abs().amin(dim=-1)
        assert ((rounded - exact).abs() <= nearest + 1e-6).all(), name


@pytest.mark.parametrize("method", ["bnb-nf4", "bnb-fp4"])
def test_double_quantisation_moves_the_scales_of_blocks_a_little_and_no_level(method: str) -> None:
    model = wide_toy("gemma2")
    dense, single = weights(model), weights(compressed(model, method))
    for name, weight in weights(compressed(model, f"{method}-dq")).items():
        blocks, before = weight.view(-1, 64), single[name].view(-1, 64)
        scale, scale_before = blocks.abs().amax(dim=1, keepdim=True), before.abs().amax(dim=1, keepdim=True)
        torch.testing.assert_close(blocks / scale, before / scale_before, rtol=1e-5, atol=1e-6)
        # Eight bits in a floating-point code: the widest gap between two levels is 0.0141 of the largest scale.
        spread = (scale_before - scale_before.mean()).abs().max()
        assert 0 < (scale - scale_before).abs().max() <= 0.0071 * spread + 1e-6, name
        error, error_before = (blocks - dense[name].view(-1, 64)).norm(), (before - dense[name].view(-1, 64)).norm()
        assert error <= 1.01 * error_before, name


@pytest.mark.parametrize("family", FAMILIES)
def test_int8_is_rounding_to_the_row_maximum(family: str) -> None:
    model = wide_toy(family)
    dense = weights(model)
    # Half a step, and what the cast to float16 adds at the largest weight, 127 steps from zero.
    tolerance = 0.5 + 127 * 2**-11
    for name, weight in weights(compressed(model, "bnb-int8")).items():
        step = dense[name].abs().amax(dim=1, keepdim=True) / 127
        assert ((weight - dense[name]).abs() <= tolerance * step).all(), name


@pytest.mark.parametrize(("name", "tolerance"), [("bnb-int8", 0.03), *((name, 0.01) for name in ALL[1:])])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_module_computes_with_the_matrix_that_is_read_from_it(family: str, name: str, tolerance: float) -> None:
    for layer in linear_layers(compressed(wide_toy(family), name)):
        inputs = torch.randn(2, 5, layer.shape[1], generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = functional.linear(inputs, layer.weight, layer.module.bias)
            difference = layer.module(inputs) - expected
        assert difference.norm() <= tolerance * expected.norm(), layer.name


@pytest.mark.parametrize("name", ALL)
def test_only_the_blocks_are_swapped_and_tied_weights_stay_tied(name: str) -> None:
    model = wide_toy("gpt2")
    result = compressed(model, name)
    assert type(result.lm_head) is nn.Linear
    assert result.lm_head.weight is result.get_input_embeddings().weight
    assert torch.equal(result.lm_head.weight, model.lm_head.weight)
    assert {layer.storage for layer in linear_layers(result)} == ({"int8"} if name == "bnb-int8" else {"4bit"})


@pytest.mark.parametrize("name", ALL)
def test_weights_read_the_same_before_and_after_the_first_forward_pass(name: str) -> None:
    result = compressed(wide_toy("gpt2"), name)
    before = weights(result)
    with torch.no_grad():
        result(toy_tokens())
    assert all(torch.equal(value, before[key]) for key, value in weights(result).items())
    copied = weights(copy.deepcopy(result))
    assert all(torch.equal(copied[key], before[key]) for key in before)


def test_a_weight_that_the_library_repacked_is_still_read_right() -> None:
    library = kernels._bitsandbytes()
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    module = library.nn.Linear4bit(128, 64, quant_type="nf4", compress_statistics=False).eval()
    module.weight = library.nn.Params4bit(weight.clone(), False, quant_type="nf4", compress_statistics=False)
    module.weight = module.weight.to("cpu")
    layer = LinearLayer("lone", module, "4bit")
    before, bias = layer.weight, module.bias
    with torch.no_grad():
        module(torch.randn(3, 128))
    # Level, scale and product are each rounded to bfloat16.
    torch.testing.assert_close(layer.weight, before, rtol=3 * 2**-8, atol=1e-6)
    assert module.bias is bias


@pytest.mark.parametrize("name", ALL[1:])
def test_inputs_that_the_cpu_kernel_would_get_wrong_are_refused(name: str) -> None:
    model = toy_model("llama")
    before = weights(model)
    with pytest.raises(
        Impossible, match=f"dequantises {name[4:7].upper()} wrongly where 64 does not divide the inputs"
    ):
        compress(model, compressor(name), None)
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())


@pytest.mark.parametrize("last", ["rtn-4", "bnb-nf4", "wanda-50"])
def test_nothing_can_follow_a_bitsandbytes_step(last: str) -> None:
    with pytest.raises(RegistryError, match="already quantised by a library"):
        compressed(wide_toy("llama"), {"name": "both", "chain": ["bnb-int8", last]})


@pytest.mark.parametrize("last", ALL)
def test_quantising_what_was_pruned_keeps_the_zeros(last: str) -> None:
    model = wide_toy("gpt2")
    pruned = weights(compressed(model, "wanda-50"))
    result, realised = verified(model, compressor({"name": "both", "chain": ["wanda-50", last]}))
    assert realised.verified
    assert realised.sparsity >= 0.5
    assert all((weight[pruned[name] == 0] == 0).all() for name, weight in weights(result).items())


def test_the_cast_is_not_announced_at_every_call_and_the_logger_is_left_as_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = compressed(wide_toy("llama"), "bnb-int8")
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    with caplog.at_level(logging.WARNING, logger=logger.name), torch.no_grad():
        model(toy_tokens())
        assert not caplog.records
        logger.warning("MatMul8bitLt: inputs will be cast from %s to float16 during quantization", "here")
    assert len(caplog.records) == 1
    assert not logger.filters


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize(
    # Beside the levels (16 numbers) stand the levels of the scales (256), their mean, and a scale for each 256 of them,
    # of which no toy has more.
    ("ending", "bits", "scale_bytes", "fixed_bytes"),
    [("", 4 + 32 / 64, 4, 64), ("-dq", 4 + 8 / 64 + 32 / 64 / 256, 1, 64 + 1024 + 4 + 4)],
)
def test_sizes_count_the_scales_that_no_parameter_lists(
    kind: str, ending: str, bits: float, scale_bytes: int, fixed_bytes: int
) -> None:
    realised = verified(wide_toy("gpt2"), compressor(f"bnb-{kind}{ending}"))[1]
    n_weights = sum(rows * columns for rows, columns in (matrix.shape for matrix in realised.matrices))
    assert realised.effective_bits == bits
    saved = realised.bytes.dense - realised.bytes.actual
    fixed = fixed_bytes * realised.target_matrices
    assert saved == n_weights * 4 - n_weights / 2 - n_weights / 64 * scale_bytes - fixed
