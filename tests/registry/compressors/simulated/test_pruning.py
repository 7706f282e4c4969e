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
from saetransfer.registry.compressors.simulated.pruning import lowest
from saetransfer.registry.families import blocks_of
from tests.registry.compressors.common import calibration, compressed, weights
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
    seen: list[torch.Tensor] = []
    handle = layer.module.register_forward_pre_hook(lambda _module, args: seen.append(args[0].double()[0]))
    with torch.no_grad():
        for window in text.windows:
            model(window[None], use_cache=False)
    handle.remove()
    norms = [float(torch.linalg.vector_norm(torch.cat(seen)[:, j])) for j in range(layer.shape[1])]
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
