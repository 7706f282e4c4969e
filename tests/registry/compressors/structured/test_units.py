"""Heads and neurons: what a smaller model computes, which units go, and what verification makes of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from saetransfer.registry.compressors.linear import LinearLayer, layer_at
from saetransfer.registry.compressors.method import Compressor
from saetransfer.registry.compressors.outcome import NotCompressed
from saetransfer.registry.compressors.structured.heads import HEADS
from saetransfer.registry.compressors.structured.neurons import NEURONS
from saetransfer.registry.errors import RegistryError
from saetransfer.registry.families import blocks_of, family_of
from saetransfer.registry.sites import Site
from saetransfer.registry.structure import kept_features
from tests.registry.compressors.common import (
    calibration,
    compressed,
    compressor,
    generated,
    verified,
    weights,
    wide_toy,
)
from tests.toys import MODEL_TYPES, toy_config, toy_tokens

METHODS = ("heads", "neurons")
SCORES = ("contribution", "magnitude")


def toy(family: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A toy with biases that are not zero, and with at least two key-value heads."""
    config = toy_config(family)
    if family == "gemma":
        config.num_key_value_heads = 2
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim == 2 or name.endswith("bias"):
                    parameter.normal_(0.0, 0.15)
    return model.to(dtype)


def removal(method: str, ratio: float = 0.5, score: str = "contribution") -> dict[str, Any]:
    return {"name": "r", "method": method, "ratio": ratio, "score": score}


def taker(model: PreTrainedModel, method: str, block: int) -> LinearLayer:
    """The projection whose columns belong to the units."""
    family = family_of(model.config)
    path = family.attn_z if method == "heads" else family.wiring.neurons_out
    layer = layer_at(model, f"{family.blocks}.{block}.{path}")
    assert layer is not None
    return layer


def width(model: PreTrainedModel, method: str) -> int:
    """Columns of a unit."""
    if method == "neurons":
        return 1
    groups = getattr(model.config, "num_key_value_heads", None) or model.config.num_attention_heads
    return Site(0, "attn_z").width(model.config) // groups


def n_blocks(model: PreTrainedModel) -> int:
    return len(blocks_of(model))


def without(model: PreTrainedModel, result: PreTrainedModel, method: str) -> PreTrainedModel:
    """The dense-shaped model that `result` shall equal: zeros in the columns that it lost."""
    twin = copy.deepcopy(model)
    for block in range(n_blocks(model)):
        layer = taker(twin, method, block)
        kept = kept_features(result, layer.name).inputs
        assert kept is not None
        mask = torch.zeros(layer.shape[1]).index_fill_(0, kept, 1.0)
        layer.set_weight(layer.weight * mask)
    return twin


@torch.no_grad()
def logits(model: PreTrainedModel, **keys: Any) -> torch.Tensor:
    return model(toy_tokens(), use_cache=False, **keys).logits


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", MODEL_TYPES)
def test_a_smaller_model_is_the_dense_one_with_zeros_where_its_units_enter_the_stream(family: str, method: str) -> None:
    model = toy(family)
    result = compressed(model, removal(method))
    wanted = logits(without(model, result, method))
    assert (logits(result) - wanted).abs().max() < 1e-5
    assert not torch.allclose(wanted, logits(model), atol=1e-3)
    assert result.num_parameters() < model.num_parameters()
    for block in range(n_blocks(model)):
        before, after = taker(model, method, block).shape[1], taker(result, method, block).shape[1]
        assert after == before - before // width(model, method) // 2 * width(model, method)


@pytest.mark.parametrize("family", MODEL_TYPES)
def test_a_smaller_model_generates_the_same_with_and_without_a_cache(family: str) -> None:
    result = compressed(toy(family), "neurons-50")
    result = compressed(result, "heads-50")
    assert torch.equal(generated(result, use_cache=True), generated(result, use_cache=False))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_eager_attention_knows_of_the_missing_heads_too(family: str) -> None:
    model = toy(family)
    model.set_attn_implementation("eager")
    result = compressed(model, removal("heads"))
    assert (logits(result) - logits(without(model, result, "heads"))).abs().max() < 1e-5


def slow_scores(model: PreTrainedModel, method: str, block: int, score: str) -> list[float]:
    """The scores of a block's units, token by token and unit by unit, in float64."""
    layer, step = taker(model, method, block), width(model, method)
    columns = layer.weight.double().split(step, dim=1)
    if score == "magnitude":
        return [part.square().sum().item() for part in columns]
    seen: list[torch.Tensor] = []
    handle = layer.module.register_forward_pre_hook(lambda _module, args: seen.append(args[0][0].detach().double()))
    for window in calibration().windows:
        model(window[None], use_cache=False)
    handle.remove()
    tokens = [token for window in seen for token in window]
    return [
        sum((part @ token[unit * step : (unit + 1) * step]).square().sum().item() for token in tokens)
        for unit, part in enumerate(columns)
    ]


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["qwen3", "gpt2", "gpt_neox"])
def test_units_of_lowest_score_go_block_by_block_as_the_slow_definition_says(
    family: str, method: str, score: str
) -> None:
    model = toy(family)
    result = compressed(model, removal(method, score=score))
    path = family_of(model.config).blocks
    for block in range(n_blocks(model)):
        # What a block sees is what the changed blocks before it give.
        so_far = copy.deepcopy(model)
        for earlier in range(block):
            so_far.set_submodule(f"{path}.{earlier}", blocks_of(result)[earlier])
        scores = slow_scores(so_far, method, block, score)
        step = width(model, method)
        kept = kept_features(result, taker(model, method, block).name).inputs
        assert kept is not None
        expected = sorted(sorted(range(len(scores)), key=scores.__getitem__)[len(scores) // 2 :])
        assert (kept[::step] // step).tolist() == expected


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_a_unit_that_adds_nothing_goes_first(family: str, method: str, score: str) -> None:
    model = toy(family)
    step = width(model, method)
    for block in range(n_blocks(model)):
        layer = taker(model, method, block)
        weight = layer.weight.clone()
        weight[:, step : 2 * step] = 0
        layer.set_weight(weight)
    n_units = taker(model, method, 0).shape[1] // step
    result = compressed(model, removal(method, ratio=1 / n_units, score=score))
    assert (logits(result) - logits(model)).abs().max() < 1e-5
    for block in range(n_blocks(model)):
        kept = kept_features(result, taker(model, method, block).name).inputs
        assert kept is not None
        assert kept[::step].tolist() == [unit * step for unit in range(n_units) if unit != 1]


@pytest.mark.parametrize("method", METHODS)
def test_the_score_by_magnitude_needs_no_text(method: str) -> None:
    assert not compressor(removal(method, score="magnitude")).needs_calibration
    assert compressor(removal(method)).needs_calibration


def test_a_share_that_comes_to_nothing_is_refused() -> None:
    with pytest.raises(RegistryError, match=r"0.25 of 2 groups of heads .* is none. Give a `ratio` of at least 1/2"):
        compressed(toy("llama"), "heads-25")
    with pytest.raises(RegistryError, match="0.01 of 48 neurons is none"):
        compressed(toy("llama"), removal("neurons", 0.01))
    config = toy("gemma").config
    config.num_key_value_heads = 1
    with pytest.raises(RegistryError, match="a single one"):
        compressed(AutoModelForCausalLM.from_config(config).eval(), "heads-50")


def test_what_a_library_holds_cannot_be_made_smaller() -> None:
    with pytest.raises(RegistryError, match="take heads, neurons and blocks out first"):
        compressed(wide_toy("llama"), {"name": "c", "chain": ["bnb-int8", "neurons-50"]})


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_left_are_dense_weights_and_the_error_is_that_of_what_is_gone(family: str, method: str) -> None:
    model = toy(family)
    result, realised = verified(model, compressor(removal(method)))
    dense, now = weights(model), weights(result)
    for matrix in realised.matrices:
        rows, columns = kept_features(result, matrix.name).of(dense[matrix.name])
        assert torch.equal(now[matrix.name], dense[matrix.name][rows][:, columns])
        lost = dense[matrix.name].double().square().sum() - now[matrix.name].double().square().sum()
        error = (lost.clamp(min=0) / dense[matrix.name].double().square().sum()).sqrt().item()
        assert matrix.weight_error == pytest.approx(error, abs=1e-6)
        assert matrix.sparsity == pytest.approx(1 - now[matrix.name].numel() / dense[matrix.name].numel())
        assert matrix.effective_bits == pytest.approx(32 * (1 - matrix.removed))
        assert (matrix.removed > 0) == (matrix.units == method)
    gone = model.num_parameters() - result.num_parameters()
    assert realised.bytes.dense - realised.bytes.actual == 4 * gone
    assert realised.bytes.actual == realised.bytes.theoretical


def test_outputs_that_are_missing_are_errors_and_missing_inputs_are_not_known() -> None:
    realised = verified(toy("llama"), compressor("neurons-50"))[1]
    errors = {matrix.name.rpartition(".")[2]: matrix.output_error for matrix in realised.matrices}
    assert errors["up_proj"] is not None
    assert 0.2 < errors["up_proj"] < 1
    assert errors["down_proj"] == pytest.approx(0, abs=1e-6)
    assert errors["q_proj"] == pytest.approx(0, abs=1e-6)
    assert realised.output_error is not None
    assert realised.output_error > 0.1


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_copy_of_a_smaller_model_still_knows_what_it_lost(family: str) -> None:
    twice = {"name": "twice", "chain": [removal("heads"), removal("neurons"), removal("neurons", 0.25)]}
    result = compressed(toy(family), twice)
    twin = copy.deepcopy(result)
    for name in weights(result):
        for mine, its in zip(
            kept_features(result, name).of(weights(result)[name]),
            kept_features(twin, name).of(weights(twin)[name]),
            strict=True,
        ):
            assert torch.equal(mine, its)


CHAINS = {
    "all of it": ["heads-50", "neurons-50", "wanda-50"],
    "heads twice": [removal("heads", 0.25), removal("heads", 0.34)],
    "neurons twice": ["neurons-25", "neurons-50"],
    "rounded afterwards": ["heads-50", "rtn-4"],
    "rounded before": ["rtn-4", "neurons-50", "heads-50"],
    "rounded in groups before": ["rtn-4-g32", "neurons-50"],
    "pruned before": ["wanda-50", "neurons-50"],
    "N:M before": [{"method": "wanda", "sparsity": "2:4"}, "neurons-25"],
    "N:M afterwards": ["neurons-25", {"method": "wanda", "sparsity": "2:4"}],
    "model-wide before": [{"method": "magnitude", "sparsity": 0.5, "scope": "model"}, "heads-50"],
    "model-wide afterwards": ["heads-50", {"method": "magnitude", "sparsity": 0.5, "scope": "model"}],
    "in a library's storage": ["neurons-50", "bnb-int8"],
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_chains_keep_all_their_promises(chain: list[Any]) -> None:
    realised = verified(wide_toy("gpt2"), compressor({"name": "chain", "chain": chain}))[1]
    assert realised.verified
    assert realised.sparsity > 0
    assert realised.bytes.theoretical < realised.bytes.dense


def judged(chosen: Compressor) -> None:
    verified(toy("gpt2"), chosen)


def test_a_removal_that_skips_a_block_or_takes_too_much_is_found_out() -> None:
    def some(model: PreTrainedModel, _calibration: object, **_params: object) -> PreTrainedModel:
        whole = copy.deepcopy(blocks_of(model)[1])
        compressed_whole = HEADS.function(model, None, ratio=0.5, score="magnitude")
        blocks_of(compressed_whole)[1] = whole
        return compressed_whole

    step = HEADS.step({"ratio": 0.5})
    with pytest.raises(NotCompressed, match=r"0.5 of the heads was to be taken out, .* by transformer.h.1.*\(0.0000\)"):
        judged(Compressor("some", (replace(step, method=replace(HEADS, function=some)),)))
    greedy = replace(HEADS, promise=lambda _params: HEADS.promise({"ratio": 0.25}))
    with pytest.raises(NotCompressed, match=r"0.25 of the heads was to be taken out, .*\(0.5000\)"):
        judged(Compressor("greedy", (replace(step, method=greedy),)))
    other = replace(HEADS, promise=NEURONS.promise)
    with pytest.raises(NotCompressed, match=r"nothing was to be taken out, .*attn.*; 0.5 of the neurons was"):
        judged(Compressor("other", (replace(step, method=other),)))


def test_weights_taken_out_do_not_stand_in_for_zeros_of_a_later_step_that_does_nothing() -> None:
    def idle(model: PreTrainedModel, *_args: object, **_params: object) -> PreTrainedModel:
        return model

    chosen = compressor({"name": "c", "chain": ["neurons-50", "heads-50", "wanda-50"]})
    lazy = replace(chosen.steps[2], method=replace(chosen.steps[2].method, function=idle))
    with pytest.raises(NotCompressed, match=r"sparsity 0.5 was promised, and not met by .*\(0.0000\)"):
        judged(Compressor("lazy", (*chosen.steps[:2], lazy)))
