"""SparseGPT and GPTQ against slow definitions."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from saetransfer.registry.calibration import Calibration
from saetransfer.registry.compressors.linear import linear_layers
from saetransfer.registry.compressors.method import noted_warnings
from saetransfer.registry.compressors.outcome import NotCompressed
from saetransfer.registry.compressors.simulated.obs import inverse_factor
from saetransfer.registry.compressors.simulated.sparsegpt import prune_with_compensation
from tests.registry.compressors.common import FAMILIES, calibration, compressed, verified, weights, wide_toy
from tests.registry.compressors.common import compressor as named
from tests.registry.compressors.simulated import textbook
from tests.toys import toy_model

ENOUGH = (60, 45, 64, 33, 50, 64)


def text() -> Calibration:
    return calibration(ENOUGH)


@pytest.mark.parametrize("sparsity", [0.5, (2, 4)], ids=["50", "2of4"])
@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gpt2", "gemma2"])
def test_sparsegpt_is_its_definition(family: str, sparsity: float | tuple[int, int]) -> None:
    model = toy_model(family)
    card = "sparsegpt-50" if sparsity == 0.5 else "sparsegpt-2of4"
    result = weights(compressed(model, card, text()))
    expected = textbook.sequentially(
        copy.deepcopy(model), text(), lambda layer, inputs: textbook.sparsegpt(layer.weight, inputs, sparsity)
    )
    assert set(result) == set(expected)
    for name, weight in result.items():
        assert torch.equal(weight == 0, expected[name] == 0), name
        torch.testing.assert_close(weight.double(), expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sparsity", [0.3, 0.6, (2, 4), (3, 7)])
def test_blocks_of_columns_change_nothing_but_the_order_of_sums(sparsity: float | tuple[int, int]) -> None:
    n_features = 294  # two blocks and a part of one, and a multiple of 7
    inputs = textbook.correlated(700, n_features)
    weight = torch.randn(20, n_features, generator=torch.Generator().manual_seed(1))
    weight = weight[:, : n_features - 2] if sparsity == (2, 4) else weight
    inputs = inputs[:, : weight.shape[1]]
    factor = inverse_factor(inputs.T @ inputs, 0.01, "here")
    result, expected = prune_with_compensation(weight, factor, sparsity), textbook.sparsegpt(weight, inputs, sparsity)
    assert torch.equal(result == 0, expected == 0)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("group", "symmetric"), [(None, True), (None, False), (8, True)])
@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gpt2"])
def test_gptq_is_its_definition(family: str, group: int | None, symmetric: bool) -> None:
    model = toy_model(family)
    definition = {"name": "g", "method": "gptq", "bits": 3, "group_size": group, "symmetric": symmetric}
    result = weights(compressed(model, definition, text()))

    def rounded(layer, inputs):
        size = group or layer.shape[1]
        return textbook.gptq(
            layer.weight, inputs, lambda columns, _first: textbook.grid_of(columns, 3, symmetric), size
        )

    for name, expected in textbook.sequentially(copy.deepcopy(model), text(), rounded).items():
        torch.testing.assert_close(result[name].double(), expected, rtol=1e-5, atol=1e-5)


def test_gptq_by_size_of_inputs_is_its_definition() -> None:
    model = toy_model("llama")
    definition = {"name": "g", "method": "gptq", "bits": 3, "group_size": 8, "act_order": True}
    result = weights(compressed(model, definition, text()))

    def rounded(layer, inputs):
        dense = layer.weight.double()
        order = inputs.square().sum(dim=0).argsort(descending=True)
        grids = [textbook.grid_of(dense[:, start : start + 8], 3, True) for start in range(0, dense.shape[1], 8)]
        settled = textbook.gptq(
            dense[:, order], inputs[:, order], lambda _columns, first: grids[int(order[first]) // 8], 1
        )
        return settled[:, order.argsort()]

    for name, expected in textbook.sequentially(copy.deepcopy(model), text(), rounded).items():
        torch.testing.assert_close(result[name].double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("better", "worse"), [("sparsegpt-50", "wanda-50"), ("gptq-3", "rtn-3"), ("awq-3", "rtn-3")])
def test_compensation_makes_the_outputs_of_the_first_block_closer(family: str, better: str, worse: str) -> None:
    """In the first block the inputs are the dense ones, so what is minimised is what is compared."""
    model = wide_toy(family)
    errors = {}
    for name in (better, worse):
        changed = weights(compressed(model, name, text()))
        first = next(layer for layer in linear_layers(model))
        inputs = textbook.inputs_of(model, first, text())
        errors[name] = ((changed[first.name].double() - first.weight.double()) @ inputs.T).norm().item()
    assert errors[better] < errors[worse]


def test_dead_inputs_lose_their_weights_and_break_nothing() -> None:
    model = toy_model("gpt2")
    dead = linear_layers(model)[3]  # the second matrix of the MLP: whatever its first gives to units 0 and 1 is 0
    first = linear_layers(model)[2]
    weight = first.weight.clone()
    weight[:2] = 0
    first.set_weight(weight)
    for name in ("sparsegpt-50", "gptq-4"):
        result = weights(compressed(model, name, text()))
        assert result[dead.name].isfinite().all()
        assert (result[dead.name][:, :2] == 0).all()


def test_damping_grows_until_the_hessian_can_be_inverted_and_a_warning_says_so() -> None:
    inputs = textbook.correlated(8, 32)
    gram = inputs.T @ inputs
    gram -= 0.05 * gram.diagonal().mean() * torch.eye(32)  # as rounding may leave it, and worse
    with noted_warnings() as notes:
        factor = inverse_factor(gram, 0.01, "model.layers.0")
    assert notes == ["model.layers.0: the Hessian was not positive definite with damping 0.01; 0.1 was used."]
    damped = gram.double() + 0.1 * gram.double().diagonal().mean() * torch.eye(32)
    torch.testing.assert_close((factor.T @ factor).double() @ damped, torch.eye(32).double(), rtol=0, atol=1e-4)


def test_inputs_that_are_not_finite_are_told() -> None:
    with pytest.raises(NotCompressed, match=r"calibration inputs of here are not all finite"):
        inverse_factor(torch.full((4, 4), float("nan")), 0.01, "here")


def test_warnings_of_methods_reach_the_record_and_others_are_left_alone() -> None:
    realised = verified(wide_toy("llama"), named("sparsegpt-50"))[1]
    assert any("59 calibration tokens for layers of up to" in note for note in realised.warnings)
    with pytest.warns(UserWarning, match="of another kind"), noted_warnings() as notes:
        warnings.warn("of another kind", UserWarning, stacklevel=1)
    assert not notes


@pytest.mark.parametrize("last", ["gptq-4", "awq-4", "hqq-4", "nf4-sim", "fp4-sim", "rtn-4", "w8a8", "sparsegpt-60"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_what_was_pruned_stays_pruned(family: str, last: str) -> None:
    model = wide_toy(family)
    pruned = weights(compressed(model, "wanda-50"))
    result, realised = verified(model, named({"name": "both", "chain": ["wanda-50", last]}))
    assert realised.verified
    if last == "sparsegpt-60":  # prunes anew: of weights made good, others may be the smallest
        return
    for name, weight in weights(result).items():
        assert (weight[pruned[name] == 0] == 0).all(), name


def test_dense_propagation_does_not_let_a_block_see_what_became_of_those_before_it() -> None:
    model = wide_toy("llama")
    windows = text().windows
    sequential = weights(compressed(model, "sparsegpt-50", Calibration(windows)))
    dense = weights(compressed(model, "sparsegpt-50", Calibration(windows, propagation="dense")))
    first = [name for name in dense if ".0." in name]
    assert all(torch.equal(dense[name], sequential[name]) for name in first)
    assert any(not torch.equal(dense[name], sequential[name]) for name in dense)
    for layer in linear_layers(model):
        if ".2." in layer.name:
            expected = textbook.sparsegpt(layer.weight, textbook.inputs_of(model, layer, text()), 0.5)
            assert torch.equal(dense[layer.name] == 0, expected == 0)
