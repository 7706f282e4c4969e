"""AWQ, HQQ, code books and rounded activations against their definitions."""

from __future__ import annotations

import copy

import pytest
import torch

from saetransfer.registry.compressors.kernels.bitsandbytes import _bitsandbytes
from saetransfer.registry.compressors.levels import max_levels
from saetransfer.registry.compressors.linear import linear_layers
from saetransfer.registry.compressors.simulated.activations import round_tokens
from saetransfer.registry.compressors.simulated.codebook import CODES, nearest
from saetransfer.registry.compressors.simulated.grid import Grid
from saetransfer.registry.compressors.simulated.hqq import round_half_quadratic
from tests.registry.compressors.common import calibration, compressed, compressor, verified, weights, wide_toy
from tests.registry.compressors.simulated import textbook
from tests.toys import toy_model, toy_tokens


def matrix(rows: int = 12, columns: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def textbook_awq(weight: torch.Tensor, inputs: torch.Tensor, bits: int, group: int, *, clip: bool) -> torch.Tensor:
    """AWQ with outputs computed one by one, in float64."""
    weight, outputs = weight.double(), inputs @ weight.double().T
    candidates = []
    for step in range(20):
        scale = inputs.abs().mean(dim=0).pow(step / 20).clamp(min=1e-4)
        scale = scale / (scale.max() * scale.min()).sqrt()
        rounded = in_groups(weight * scale, bits, group) / scale
        candidates.append((float((inputs @ rounded.T - outputs).square().sum()), step, scale, rounded))
    _, _, scale, rounded = min(candidates, key=lambda candidate: candidate[:2])
    if not clip:
        return rounded
    scaled, result = weight * scale, torch.empty_like(weight)
    for start in range(0, weight.shape[1], group):
        part = slice(start, start + group)
        x = inputs[:, part] / scale[part]
        for row, values in enumerate(scaled[:, part]):
            tried = []
            for step in range(10):
                limit = values.abs().max() * (1 - step / 20)
                snapped = in_groups(values.clamp(-limit, limit)[None], bits, group)[0]
                tried.append((float((x @ (snapped - values)).square().sum()), step, snapped))
            result[row, part] = min(tried, key=lambda one: one[:2])[2] / scale[part]
    return result


def in_groups(weight: torch.Tensor, bits: int, group: int) -> torch.Tensor:
    parts = [
        torch.stack([textbook.grid_of(weight[:, start : start + group], bits, True)(column) for column in columns], 1)
        for start in range(0, weight.shape[1], group)
        for columns in [weight[:, start : start + group].T]
    ]
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("group", [None, 16])
def test_awq_is_its_definition_and_leaves_queries_and_keys_unclipped(group: int | None) -> None:
    """On symmetric grids: the zero point of one that is clipped on both sides lies just between two whole numbers."""
    model = toy_model("llama")
    definition = {"name": "a", "method": "awq", "bits": 3, "group_size": group, "symmetric": True}
    result = weights(compressed(model, definition, calibration((60, 45, 64))))
    for layer in linear_layers(model)[:7]:  # of the first block, whose inputs are the dense ones
        inputs = textbook.inputs_of(model, layer, calibration((60, 45, 64)))
        clip = not layer.name.endswith(("q_proj", "k_proj"))
        expected = textbook_awq(layer.weight, inputs, 3, group or layer.shape[1], clip=clip)
        torch.testing.assert_close(result[layer.name].double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_awq_puts_the_scaled_matrix_on_a_grid_and_verification_reads_it_there(dtype: torch.dtype) -> None:
    model = wide_toy("gpt2", dtype)
    result, realised = verified(model, compressor("awq-4"))
    assert realised.verified
    assert all(matrix.levels is not None and matrix.levels <= 16 for matrix in realised.matrices)
    layer = linear_layers(result)[0]
    assert "input_scale" not in result.state_dict()
    # Without the scale, the levels are as many as there are inputs.
    assert max_levels(layer.weight, None) > 16


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_hqq_is_the_published_loop(bits: int) -> None:
    groups, top = matrix(40, 64), 2**bits - 1
    scale = top / (groups.amax(1, keepdim=True) - groups.amin(1, keepdim=True))
    zero, best = -groups.amin(1, keepdim=True) * scale, float("inf")
    zero = zero.round() if bits == 4 else zero
    for _ in range(20):
        q = torch.round(groups * scale + zero).clamp(0, top)
        back = (q - zero) / scale
        error = groups - back
        shrunk = torch.sign(error) * torch.relu(error.abs() - (1 / 10) * torch.pow(error.abs(), 0.7 - 1))
        zero = torch.mean(q - (groups - shrunk) * scale, dim=1, keepdim=True)
        if float(error.abs().mean()) >= best:
            break
        best = float(error.abs().mean())
    expected = (torch.round(groups * scale + zero).clamp(0, top) - zero) / scale
    torch.testing.assert_close(round_half_quadratic(groups, bits), expected, rtol=1e-5, atol=1e-6)


def test_hqq_has_fewer_errors_in_the_mean_than_where_it_starts() -> None:
    groups = matrix(200, 64)
    for bits in (2, 3, 4):
        solved = (round_half_quadratic(groups, bits) - groups).abs().mean()
        plain = (Grid.fit(groups, bits, symmetric=False).snap(groups) - groups).abs().mean()
        assert solved < plain


def test_hqq_gives_a_flat_group_back() -> None:
    flat = torch.full((2, 8), 0.3)
    torch.testing.assert_close(round_half_quadratic(flat, 4), flat, rtol=0, atol=1e-6)


@pytest.mark.parametrize("code", ["nf4", "fp4"])
def test_code_books_are_those_of_bitsandbytes(code: str) -> None:
    functional = _bitsandbytes().functional
    weight = matrix(32, 128)
    packed, state = functional.quantize_4bit(weight, blocksize=64, quant_type=code)
    theirs = functional.dequantize_4bit(packed, state)
    ours = nearest(weight, torch.tensor(CODES[code]), 64)
    # Where a weight lies on the border of two levels to the last digit, either is nearest.
    distance = (ours - weight).abs() - (theirs - weight).abs()
    assert distance.abs().max() < 1e-5
    assert float((ours != theirs).float().mean()) < 1e-3 or torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_block_of_zeros_and_a_last_short_block_are_no_trouble() -> None:
    weight = matrix(3, 30)
    weight[0] = 0
    rounded = nearest(weight, torch.tensor(CODES["nf4"]), 64)
    assert (rounded[0] == 0).all()
    assert max_levels(rounded, 64) <= 16


def test_activations_are_rounded_token_by_token() -> None:
    inputs = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    rounded = round_tokens(inputs, 8)
    step = inputs.abs().amax(dim=-1, keepdim=True) / 127
    assert ((rounded - inputs).abs() <= step / 2 * (1 + 1e-4)).all()
    assert torch.equal(round_tokens(inputs[1:, 2:3], 8), rounded[1:, 2:3])
    half = round_tokens(inputs.bfloat16(), 4)
    assert half.dtype == torch.bfloat16
    assert len(half[0, 0].unique()) <= 15


def test_the_state_computes_with_rounded_inputs_and_sites_are_read_before() -> None:
    model = wide_toy("llama")
    result = compressed(model, "w8a8")
    only_weights = compressed(model, "rtn-8")
    assert all(torch.equal(value, weights(only_weights)[name]) for name, value in weights(result).items())
    with torch.no_grad():
        assert not torch.equal(result(toy_tokens()).logits, only_weights(toy_tokens()).logits)
        layer = linear_layers(result)[0]
        inputs = torch.randn(4, layer.shape[1], generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(layer.module(inputs), round_tokens(inputs, 8) @ layer.weight.T)
    fewer = {"name": "w8a4", "method": "rounded-activations", "bits": 8, "activation_bits": 4}
    errors = [verified(model, compressor(name))[1].output_error for name in ("rtn-8", "w8a8", fewer)]
    assert errors == sorted(errors)
    copied = copy.deepcopy(result)
    with torch.no_grad():
        assert torch.equal(copied(toy_tokens()).logits, result(toy_tokens()).logits)
