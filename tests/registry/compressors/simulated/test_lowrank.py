"""Low rank against what it minimises."""

from __future__ import annotations

import pytest
import torch

from saetransfer.registry.compressors.linear import linear_layers
from saetransfer.registry.compressors.outcome import NotCompressed
from saetransfer.registry.compressors.promise import rank_of
from tests.registry.compressors.common import FAMILIES, calibration, compressed, compressor, verified, weights, wide_toy
from tests.registry.compressors.simulated import textbook


def text():
    return calibration((60, 45, 64, 50))


@pytest.mark.parametrize("name", ["svd-50", "svd-whitened-50"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_factors_hold_at_most_the_share_of_the_weights(family: str, name: str) -> None:
    model = wide_toy(family)
    for layer in linear_layers(compressed(model, name, text())):
        rank = int(torch.linalg.matrix_rank(layer.weight.double(), rtol=1e-5))
        out_features, in_features = layer.shape
        assert rank == rank_of(0.5, layer.shape)
        assert rank * (out_features + in_features) <= 0.5 * out_features * in_features
    realised = verified(model, compressor(name))[1]
    assert 0 < realised.effective_bits <= 16


def test_svd_leaves_the_error_of_the_singular_values_that_it_cuts() -> None:
    model = wide_toy("gpt2")
    dense = weights(model)
    for name, weight in weights(compressed(model, "svd-50")).items():
        values = torch.linalg.svdvals(dense[name].double())
        cut = values[rank_of(0.5, (weight.shape[0], weight.shape[1])) :].square().sum().sqrt()
        assert float((weight - dense[name]).double().norm()) == pytest.approx(float(cut), rel=1e-4)


def test_whitening_is_the_truncation_of_svd_llm() -> None:
    """`W S` cut to its first singular triples, times `S^-1`, where `S S^T` is the Gram matrix of the inputs."""
    model = wide_toy("llama")
    result = weights(compressed(model, "svd-whitened-50", text()))
    for layer in linear_layers(model)[:7]:  # of the first block, whose inputs are the dense ones
        inputs = textbook.inputs_of(model, layer, text())
        root = torch.linalg.cholesky(inputs.T @ inputs)
        left, values, right = torch.linalg.svd(layer.weight.double() @ root, full_matrices=False)
        rank = rank_of(0.5, layer.shape)
        expected = left[:, :rank] * values[:rank] @ right[:rank] @ torch.linalg.inv(root)
        torch.testing.assert_close(result[layer.name].double(), expected, rtol=1e-3, atol=1e-5)


def test_whitening_has_less_error_in_the_outputs_and_more_in_the_weights() -> None:
    model = wide_toy("llama")
    layer = linear_layers(model)[0]
    inputs = textbook.inputs_of(model, layer, text())
    errors = {}
    for name in ("svd-50", "svd-whitened-50"):
        difference = weights(compressed(model, name, text()))[layer.name].double() - layer.weight.double()
        errors[name] = (float((difference @ inputs.T).norm()), float(difference.norm()))
    assert errors["svd-whitened-50"][0] < errors["svd-50"][0]
    assert errors["svd-whitened-50"][1] > errors["svd-50"][1]


def test_more_inputs_than_tokens_are_no_trouble() -> None:
    result = compressed(wide_toy("gpt2"), "svd-whitened-50", calibration((9,)))
    assert all(weight.isfinite().all() for weight in weights(result).values())


def test_a_low_rank_fills_zeros_which_verification_finds_out() -> None:
    with pytest.raises(NotCompressed, match="sparsity 0.5 was promised, and not met"):
        verified(wide_toy("llama"), compressor({"name": "both", "chain": ["wanda-50", "svd-80"]}))


def test_rounding_after_a_low_rank_is_judged_as_rounding() -> None:
    realised = verified(wide_toy("llama"), compressor({"name": "both", "chain": ["svd-80", "rtn-8"]}))[1]
    assert realised.effective_bits == pytest.approx(8, abs=0.5)
