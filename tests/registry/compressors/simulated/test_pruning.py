"""Magnitude pruning and Wanda against their definitions."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from saetransfer.registry.calibration import Calibration
from saetransfer.registry.compressors.linear import linear_layers
from saetransfer.registry.compressors.method import compress
from saetransfer.registry.compressors.simulated.allocation import outlier_shares, owl_sparsities
from saetransfer.registry.compressors.simulated.masks import lowest
from saetransfer.registry.errors import Impossible, RegistryError
from saetransfer.registry.families import blocks_of
from tests.registry.compressors.common import calibration, compressed, compressor, verified, weights
from tests.registry.compressors.simulated import textbook
from tests.toys import toy_model


def textbook_wanda(model: PreTrainedModel, text: Calibration, sparsity: float) -> dict[str, torch.Tensor]:
    """Wanda by its definition, slowly: one matrix's inputs at a time, in float64, from whole passes of the model.

    The model is pruned in place, block by block, so the inputs of a block come from pruned blocks before it, and all
    matrices of a block are scored on whole passes through the unpruned block.
    """
    masks: dict[str, torch.Tensor] = {}
    for index in range(len(blocks_of(model))):
        inside = [layer for layer in linear_layers(model) if f".{index}." in layer.name]
        for layer in inside:
            masks[layer.name] = textbook_mask(model, layer, text, sparsity)
        for layer in inside:
            layer.set_weight(layer.weight.masked_fill(masks[layer.name], 0))
    return masks


def textbook_mask(model: PreTrainedModel, layer, text: Calibration, sparsity: float) -> torch.Tensor:
    norms = torch.linalg.vector_norm(textbook.inputs_of(model, layer, text), dim=0).tolist()
    mask = torch.zeros(layer.shape, dtype=torch.bool)
    for i, row in enumerate(layer.weight.double().abs().tolist()):
        scores = [weight * norm for weight, norm in zip(row, norms, strict=True)]
        ranked = sorted(range(len(scores)), key=scores.__getitem__)
        mask[i, ranked[: int(len(scores) * sparsity)]] = True
    return mask


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gpt2"])
def test_wanda_prunes_exactly_the_weights_of_its_definition(family: str) -> None:
    model = toy_model(family)
    result = weights(compressed(model, "wanda-60"))
    masks = textbook_wanda(copy.deepcopy(model), calibration(), 0.6)
    assert set(result) == set(masks)
    for name, weight in result.items():
        assert torch.equal(weight == 0, masks[name]), name
        assert (weight == 0).sum(dim=1).unique().tolist() == [int(weight.shape[1] * 0.6)]


def test_kept_weights_stay_as_they_were() -> None:
    model = toy_model("llama")
    dense = weights(model)
    for name, weight in weights(compressed(model, "wanda-50")).items():
        assert torch.equal(weight[weight != 0], dense[name][weight != 0])


def test_wanda_on_conv1d_equals_wanda_on_the_same_weights_in_plain_linear_layers() -> None:
    model = toy_model("gpt2")
    plain = copy.deepcopy(model)
    for layer in linear_layers(plain):
        assert isinstance(layer.module, Conv1D)
        out_features, in_features = layer.shape
        module = nn.Linear(in_features, out_features)
        module.weight.data, module.bias.data = layer.weight.clone(), layer.module.bias.data.clone()
        plain.set_submodule(layer.name, module)
    expected = weights(compressed(plain, "wanda-50"))
    for name, weight in weights(compressed(model, "wanda-50")).items():
        assert torch.equal(weight == 0, expected[name] == 0), name


def test_wanda_does_not_depend_on_how_windows_are_batched_and_padded() -> None:
    model = toy_model("gemma2")
    lengths = (20, 3, 11, 20, 7)
    ragged = weights(compressed(model, "wanda-50", calibration(lengths, batch_size=5)))
    single = weights(compressed(model, "wanda-50", calibration(lengths, batch_size=1)))
    assert all(torch.equal(ragged[name] == 0, single[name] == 0) for name in ragged)


@pytest.mark.parametrize("scope", ["matrix", "row"])
def test_magnitude_prunes_the_exact_count_even_where_all_weights_are_tied(scope: str) -> None:
    model = toy_model("llama")
    for layer in linear_layers(model):
        layer.set_weight(torch.full(layer.shape, 0.25))
    definition = {"name": "m", "method": "magnitude", "sparsity": 0.3, "scope": scope}
    for weight in weights(compressed(model, definition)).values():
        count = int(weight.shape[1] * 0.3) * weight.shape[0] if scope == "row" else int(weight.numel() * 0.3)
        assert int((weight == 0).sum()) == count


def test_magnitude_keeps_the_larger_weights_of_the_matrix() -> None:
    model = toy_model("gpt2", dtype=torch.bfloat16)
    dense = weights(model)
    for name, weight in weights(compressed(model, "magnitude-70")).items():
        pruned, kept = dense[name][weight == 0].abs(), dense[name][weight != 0].abs()
        assert pruned.max() <= kept.min()


def test_lowest_takes_the_first_of_equal_scores_as_a_stable_sort_does() -> None:
    score = torch.randint(0, 4, (50, 24), generator=torch.Generator().manual_seed(0)).float()
    for count in (0, 1, 12, 24):
        first = score.argsort(dim=1, stable=True)[:, :count]
        assert torch.equal(lowest(score, count), torch.zeros_like(score, dtype=torch.bool).scatter(1, first, True))


def test_wanda_and_magnitude_prune_different_weights() -> None:
    model = toy_model("llama")
    by_norm, by_size = weights(compressed(model, "wanda-50")), weights(compressed(model, "magnitude-50"))
    assert any(not torch.equal(by_norm[name] == 0, by_size[name] == 0) for name in by_norm)


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
@pytest.mark.parametrize("pattern", ["2:4", "4:8", "1:4", "3:16"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_every_group_of_a_pattern_keeps_n_of_m_inputs(family: str, pattern: str, method: str) -> None:
    kept, size = (int(part) for part in pattern.split(":"))
    model = toy_model(family)
    definition = {"name": "p", "method": method, "sparsity": pattern}
    _, realised = verified(model, compressor(definition))
    assert realised.verified
    for weight in weights(compressed(model, definition)).values():
        assert ((weight.reshape(-1, size) != 0).sum(dim=1) == kept).all()


def test_a_pattern_that_does_not_divide_the_inputs_is_told_before_anything_changes() -> None:
    model = toy_model("llama")
    before = weights(model)
    with pytest.raises(Impossible, match=r"2:5 needs a multiple of 5 inputs; .*q_proj has 32 \(21 such layers\)"):
        compress(model, compressor({"name": "p", "method": "wanda", "sparsity": "2:5"}), calibration())
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
def test_each_block_can_have_a_share_of_its_own(method: str) -> None:
    model = toy_model("gpt_neox")
    shares = [0.25, 0.5, 0.75]
    definition = {"name": "p", "method": method, "sparsity": shares}
    assert verified(model, compressor(definition))[1].verified
    for name, weight in weights(compressed(model, definition)).items():
        share = shares[int(name.split(".")[2])]
        assert float((weight == 0).float().mean()) == pytest.approx(share, abs=2 / 32)
    with pytest.raises(RegistryError, match="`sparsity` names 2 blocks, and the model has 3"):
        compressed(model, {"name": "p", "method": method, "sparsity": [0.5, 0.5]})


def test_magnitude_of_the_whole_model_prunes_the_smallest_weights_wherever_they_are() -> None:
    model = toy_model("llama")
    for index, layer in enumerate(linear_layers(model)):
        layer.set_weight(layer.weight * (1 + index / 4))
    dense = weights(model)
    definition = {"name": "m", "method": "magnitude", "sparsity": 0.37, "scope": "model"}
    result = weights(compressed(model, definition))
    everything = torch.cat([weight.flatten() for weight in dense.values()]).abs()
    pruned = torch.cat([weight.flatten() == 0 for weight in result.values()])
    assert int(pruned.sum()) == int(0.37 * len(pruned))
    assert everything[pruned].max() <= everything[~pruned].min()
    assert verified(model, compressor(definition))[1].verified


def test_magnitude_of_the_whole_model_prunes_the_exact_count_where_all_are_tied() -> None:
    model = toy_model("gpt2", dtype=torch.bfloat16)
    for layer in linear_layers(model):
        layer.set_weight(torch.full(layer.shape, -0.25, dtype=torch.bfloat16))
    result = weights(compressed(model, {"name": "m", "method": "magnitude", "sparsity": 0.3, "scope": "model"}))
    pruned = torch.cat([weight.flatten() == 0 for weight in result.values()])
    assert int(pruned.sum()) == int(0.3 * len(pruned))
    assert bool(pruned[: int(pruned.sum())].all())


def test_the_variant_prunes_of_each_row_the_scores_that_make_up_one_share_of_their_sum() -> None:
    model = toy_model("llama")
    first = linear_layers(model)[0]
    score = first.weight.double().abs() * textbook.inputs_of(model, first, calibration()).norm(dim=0)
    zeros = weights(compressed(model, "wanda-variant-50"))[first.name] == 0
    assert float(zeros.float().mean()) == pytest.approx(0.5, abs=0.01)
    assert len(zeros.sum(dim=1).unique()) > 1
    pruned = torch.where(zeros, score, 0).sum(dim=1) / score.sum(dim=1)
    least_kept = torch.where(zeros, float("inf"), score).amin(dim=1) / score.sum(dim=1)
    # One alpha for all rows: no row's pruned share exceeds it, and the next weight of any row would.
    assert pruned.max() <= (pruned + least_kept).min() * (1 + 1e-5)


def test_owl_keeps_more_of_blocks_with_more_outliers_and_the_mean_as_asked() -> None:
    model = toy_model("llama")
    planted = linear_layers(model)[7]
    weight = planted.weight.clone()
    weight[:, 0] *= 50
    planted.set_weight(weight)
    shares = outlier_shares(model, calibration())
    expected = []
    for index in range(3):
        scores = torch.cat(
            [
                (layer.weight.double().abs() * textbook.inputs_of(model, layer, calibration()).norm(dim=0)).flatten()
                for layer in linear_layers(model)
                if f".{index}." in layer.name
            ]
        )
        expected.append(float((scores > 5 * scores.mean()).double().mean()))
    assert shares == pytest.approx(expected)
    sparsities = owl_sparsities(shares, 0.6)
    assert sum(sparsities) / 3 == pytest.approx(0.6)
    assert min(sparsities) == sparsities[1]
    assert max(sparsities) - min(sparsities) == pytest.approx(0.16)
    realised = verified(model, compressor("wanda-owl-60"))[1]
    assert realised.sparsity == pytest.approx(0.6, abs=0.02)
    assert owl_sparsities([0.1, 0.1], 0.5) == [0.5, 0.5]
    with pytest.raises(RegistryError, match="which no block can have"):
        owl_sparsities([0.0, 0.1], 0.95)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"method": "wanda", "sparsity": "4:4"}, "pattern 4:4 keeps every weight"),
        ({"method": "wanda", "sparsity": "2:4", "allocation": "owl"}, "leaves nothing to divide"),
        ({"method": "sparsegpt", "sparsity": [0.5], "allocation": "owl"}, "leaves nothing to divide"),
        ({"method": "magnitude", "sparsity": [0.5], "scope": "model"}, "With scope 'model' all weights compete"),
        ({"method": "wanda", "sparsity": "2:4", "variant": True}, "Wanda's variant lets rows differ"),
        ({"method": "wanda", "sparsity": "2/4"}, "text (N:M, as in 2:4: N of M inputs are kept)"),
        ({"method": "wanda", "sparsity": 2}, "'sparsity' of method 'wanda' is 2: input should be less than 1"),
    ],
)
def test_parameters_that_contradict_each_other_are_told_when_the_suite_is_read(
    parameters: dict[str, object], expected: str
) -> None:
    with pytest.raises(RegistryError) as caught:
        compressor({"name": "a", **parameters})
    assert expected in str(caught.value)


def test_only_owl_makes_magnitude_read_calibration_text() -> None:
    assert not compressor("magnitude-50").needs_calibration
    assert compressor({"name": "m", "method": "magnitude", "sparsity": 0.5, "allocation": "owl"}).needs_calibration
