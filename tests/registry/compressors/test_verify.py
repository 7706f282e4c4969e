"""Verification: what it must not let through."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from saetransfer.registry.calibration import Calibration
from saetransfer.registry.compressors.levels import max_levels
from saetransfer.registry.compressors.linear import linear_layers
from saetransfer.registry.compressors.method import Compressor, Step, compress, user_method
from saetransfer.registry.compressors.outcome import NotCompressed, Realised
from saetransfer.registry.compressors.promise import Promise, Zeros
from saetransfer.registry.compressors.simulated.pruning import MAGNITUDE
from saetransfer.registry.compressors.simulated.rounding import RTN
from saetransfer.registry.compressors.snapshot import DenseSnapshot
from saetransfer.registry.compressors.verify import verify
from saetransfer.registry.families import blocks_of
from tests.registry.compressors.common import compressed
from tests.toys import toy_model, toy_tokens

HALF = Promise(zeros=(Zeros(0.5),))


def judge(
    change: Callable[[PreTrainedModel], object], promise: Promise, family: str = "llama", dense: str = "dense"
) -> Realised:
    """Verification of a toy after `change`, which may return a replacement."""
    model = compressed(toy_model(family), dense)
    with DenseSnapshot(model, toy_tokens()) as snapshot, torch.no_grad():
        replacement = change(model)
        return verify(replacement if isinstance(replacement, PreTrainedModel) else model, snapshot, promise)


def prune(model: PreTrainedModel, share: float = 0.5, only: str = "") -> None:
    for layer in linear_layers(model):
        if only in layer.name:
            weight = layer.weight.clone()
            weight[:, : int(weight.shape[1] * share)] = 0
            layer.set_weight(weight)


@pytest.mark.parametrize("promise", [Promise(), Promise(keeps_rest=False)])
def test_a_compressor_that_changes_nothing_is_found_out(promise: Promise) -> None:
    with pytest.raises(NotCompressed, match="none of the 21 target matrices differs") as caught:
        judge(lambda _model: None, promise)
    assert caught.value.realised is not None
    assert not caught.value.realised.verified
    json.dumps(caught.value.realised.to_json(), allow_nan=False)


def test_one_matrix_that_was_skipped_is_named() -> None:
    with pytest.raises(NotCompressed, match=r"sparsity 0.5 was promised, and not met by .*up_proj \(0.0000\)"):
        judge(lambda model: [prune(model, only=part) for part in ("self_attn", "gate", "down")], HALF)


def test_pruning_more_than_promised_is_found_out_unless_the_dense_model_had_the_zeros() -> None:
    with pytest.raises(NotCompressed, match="sparsity 0.5 was promised, and exceeded in"):
        judge(lambda model: prune(model, 0.6), HALF)
    assert judge(lambda model: prune(model, 0.6), HALF, dense="magnitude-30").verified


def test_too_many_levels_are_found_out() -> None:
    with pytest.raises(NotCompressed, match=r"3 bits were promised, but more than 8 levels in .*q_proj \(1[0-9]\)"):
        judge(lambda model: compress(model, Compressor("r", (RTN.step({"bits": 4}),)), None), Promise(bits=3))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_and_logits_that_are_not_finite_are_found_out(value: float) -> None:
    def spoil(model: PreTrainedModel) -> None:
        model.model.layers[1].mlp.up_proj.weight[0, 0] = value

    with pytest.raises(NotCompressed, match=r"NaN or infinite weights in model.layers.1.mlp.up_proj") as caught:
        judge(spoil, Promise())
    json.dumps(caught.value.realised.to_json(), allow_nan=False)


@pytest.mark.parametrize("part", ["embed_tokens", "norm", "lm_head", "layers.0.input_layernorm"])
def test_what_is_no_target_must_not_change_unless_nothing_was_promised(part: str) -> None:
    def change(model: PreTrainedModel) -> None:
        prune(model)
        model.get_parameter(f"{part}.weight" if part == "lm_head" else f"model.{part}.weight").mul_(1.5)

    with pytest.raises(NotCompressed, match=rf"changed outside the blocks' linear layers: .*{part}"):
        judge(change, HALF)
    assert part in judge(change, Promise(keeps_rest=False)).warnings[0]


def test_dense_means_the_same_to_the_bit() -> None:
    def nudge(model: PreTrainedModel) -> None:
        weight = model.model.layers[2].mlp.down_proj.weight
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(1.0))

    with pytest.raises(NotCompressed, match="the dense model was changed in model.layers.2.mlp.down_proj"):
        judge(nudge, Promise(is_dense=True))


def test_a_hook_left_behind_on_the_dense_model_is_found_out() -> None:
    def hook(model: PreTrainedModel) -> None:
        model.model.layers[0].mlp.register_forward_hook(lambda _module, _args, output: 2 * output)

    with pytest.raises(NotCompressed, match="logits differ from those of the same weights"):
        judge(hook, Promise(is_dense=True))


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(NotCompressed, match="not a causal language model"):
        judge(lambda model: model.model, Promise())

    def grow(model: PreTrainedModel) -> None:
        model.resize_token_embeddings(100, mean_resizing=False)

    with pytest.raises(NotCompressed, match="vocabulary of 100, the dense model one of 96"):
        judge(grow, Promise())


def test_a_model_without_a_linear_layer_in_its_blocks_is_refused() -> None:
    class Opaque(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 0 * x

    model = toy_model("gpt2")
    for layer in linear_layers(model):
        model.set_submodule(layer.name, Opaque())
    for block in blocks_of(model):
        block.forward = lambda hidden, *_args, **_kwargs: hidden
    with DenseSnapshot(model, toy_tokens()) as snapshot, pytest.raises(NotCompressed, match="nothing to compress"):
        verify(model, snapshot, HALF)


def test_a_function_that_forgets_to_return_the_model_is_told() -> None:
    forgetful = user_method("forgetful", lambda _model, _calibration: None, "here", None)
    with pytest.raises(NotCompressed, match="returned nothing .None..*must return the model"):
        compress(toy_model("llama"), Compressor("f", (Step(forgetful),)), Calibration([toy_tokens()[0]]))


def test_a_function_of_a_user_must_change_something_and_nothing_more_is_asked() -> None:
    def only_a_bias(model: PreTrainedModel) -> None:
        linear_layers(model)[0].module.bias.add_(1.0)

    realised = judge(only_a_bias, Promise(keeps_rest=False), family="gpt2")
    assert realised.verified
    assert realised.coverage == 0.0
    assert realised.logit_change > 0


def test_a_module_of_an_unknown_make_is_read_by_what_it_does() -> None:
    def factor(model: PreTrainedModel) -> None:
        model.model.layers[0].mlp.up_proj = nn.Sequential(nn.Linear(32, 4, bias=False), nn.Linear(4, 48, bias=False))

    realised = judge(factor, Promise(keeps_rest=False))
    assert not realised.warnings
    matrix = next(matrix for matrix in realised.matrices if "layers.0.mlp.up_proj" in matrix.name)
    assert matrix.effective_bits == 32 * 4 * (32 + 48) / (32 * 48)
    assert matrix.changed
    assert realised.bytes.dense - realised.bytes.theoretical == 4 * (32 * 48 - 4 * (32 + 48))


def test_matrices_that_are_gone_are_a_warning_for_a_user_and_a_fault_where_more_was_promised() -> None:
    class OfTokens(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            batch, position, width = x.shape
            return x.new_ones(batch, position, 48) * width

    def factor(model: PreTrainedModel) -> None:
        model.model.layers[0].mlp.up_proj = OfTokens()
        prune(model)

    assert "1 target matrices are gone" in judge(factor, Promise(keeps_rest=False)).warnings[0]
    with pytest.raises(NotCompressed, match="gone or of another shape: model.layers.0.mlp.up_proj"):
        judge(factor, HALF)


def test_theoretical_bytes_take_the_smaller_of_mask_and_dense_storage() -> None:
    realised = judge(prune, HALF)
    n_weights = sum(rows * columns for rows, columns in (matrix.shape for matrix in realised.matrices))
    assert realised.effective_bits == 0.5 * 32 + 1
    assert realised.bytes.actual == realised.bytes.dense
    assert realised.bytes.dense - realised.bytes.theoretical == n_weights * 15 / 8
    # One column of 32 pruned: the mask costs as much as it saves, one of 48: more, so dense storage counts.
    assert judge(lambda model: prune(model, 0.04), Promise()).effective_bits == 32


def test_weight_error_is_relative_to_the_dense_weights() -> None:
    def halve(model: PreTrainedModel) -> None:
        for layer in linear_layers(model):
            layer.set_weight(layer.weight / 2)

    realised = judge(halve, Promise(keeps_rest=False))
    assert realised.weight_error == pytest.approx(0.5)
    assert all(matrix.weight_error == pytest.approx(0.5) for matrix in realised.matrices)


def test_levels_are_counted_per_group_also_where_the_last_group_is_not_full() -> None:
    weight = torch.tensor([[0.0, 1.0, 2.0, 2.0], [3.0, 3.0, 3.0, 3.0]])
    assert max_levels(weight, None) == 3
    assert max_levels(weight, 2) == 2
    assert max_levels(weight, 3) == 3
    assert max_levels(weight, 5) == 4


def test_promises_of_a_chain_add_up() -> None:
    pruned, rounded = HALF, Promise(bits=4, group_size=32, overhead_bits=16, adds_zeros=True)
    assert pruned.then(rounded) == replace(rounded, zeros=(Zeros(0.5),))
    assert rounded.then(pruned) == replace(rounded, zeros=(Zeros(0.5),))
    assert pruned.then(Promise(zeros=(Zeros(0.3),))) == Promise(zeros=(Zeros(0.5), Zeros(0.3)))
    anything = pruned.then(Promise(keeps_rest=False))
    assert (anything.zeros, anything.keeps_rest) == ((Zeros(0.5),), False)
    assert rounded.then(Promise(keeps_rest=False)).bits is None


def test_zeros_must_survive_a_later_step_of_the_chain() -> None:
    def refill(model: PreTrainedModel, _calibration: Calibration) -> PreTrainedModel:
        for layer in linear_layers(model):
            layer.set_weight(layer.weight + 0.01)
        return model

    chosen = Compressor("both", (MAGNITUDE.step({"sparsity": 0.5}), Step(user_method("refill", refill, "here", None))))
    model = toy_model("llama")
    with DenseSnapshot(model, toy_tokens()) as snapshot, pytest.raises(NotCompressed, match="sparsity 0.5"):
        verify(compress(copy.deepcopy(model), chosen, Calibration([toy_tokens()[0]])), snapshot, chosen.promise)


def test_weights_that_no_method_reaches_are_named_and_lower_the_coverage() -> None:
    model = toy_model("llama")
    experts = nn.Parameter(torch.ones(2, 8, 8))
    model.model.layers[1].mlp.register_parameter("experts", experts)
    with DenseSnapshot(model, toy_tokens()) as snapshot, torch.no_grad():
        prune(model)
        realised = verify(model, snapshot, HALF)
    n_weights = sum(rows * columns for rows, columns in (matrix.shape for matrix in realised.matrices))
    assert realised.coverage == pytest.approx(n_weights / (n_weights + experts.numel()))
    assert realised.warnings == (
        "weights of the blocks that are no linear layer and are never reached: model.layers.1.mlp.experts",
    )


def test_a_pattern_that_is_broken_in_one_group_is_found_out() -> None:
    def keep_two_of_four(model: PreTrainedModel, spoil: bool) -> None:
        for layer in linear_layers(model):
            weight = layer.weight.clone()
            weight.view(-1, 4)[:, :2] = 0
            layer.set_weight(weight)
        if spoil:
            model.model.layers[1].mlp.up_proj.weight[3, 4:6] = 1.0

    pattern = Promise(zeros=(Zeros(0.5, pattern=(2, 4)),))
    assert judge(lambda model: keep_two_of_four(model, spoil=False), pattern).verified
    with pytest.raises(NotCompressed, match=r"pattern 2:4 was promised, and is broken in model.layers.1.mlp.up_proj"):
        judge(lambda model: keep_two_of_four(model, spoil=True), pattern)


def test_a_share_of_the_whole_model_may_lie_anywhere_in_it() -> None:
    everywhere = Promise(zeros=(Zeros(0.5, of="model"),))
    assert judge(lambda model: [prune(model, 0.9, "self_attn"), prune(model, 0.25, "mlp")], everywhere).verified
    with pytest.raises(NotCompressed, match="sparsity 0.5 of the model was promised, 0.35"):
        judge(lambda model: prune(model, 0.9, "self_attn"), everywhere)
    with pytest.raises(NotCompressed, match="more than was promised"):
        judge(lambda model: prune(model, 0.6), everywhere)


def test_a_rank_that_is_too_high_is_found_out() -> None:
    with pytest.raises(NotCompressed, match="a low rank was promised, and is exceeded in"):
        judge(lambda model: prune(model, 0.1), Promise(rank_share=0.5))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_output_error_is_the_relative_distance_of_what_a_layer_gives(family: str) -> None:
    model = toy_model(family)
    tokens = toy_tokens(1, 20)
    changed = copy.deepcopy(model)
    layer, dense = linear_layers(changed)[3], linear_layers(model)[3].weight
    layer.set_weight(dense * 0.8 + 0.01)
    with DenseSnapshot(model, toy_tokens()) as snapshot:
        realised = verify(changed, snapshot, Promise(), [tokens[0]])
    seen: list[torch.Tensor] = []
    layer.module.register_forward_pre_hook(lambda _module, args: seen.append(args[0].double()[0]))
    with torch.no_grad():
        changed(tokens)
    error = seen[0] @ (layer.weight - dense).double().T
    errors = {matrix.name: matrix.output_error for matrix in realised.matrices}
    assert errors.pop(layer.name) == pytest.approx(float(error.norm() / (seen[0] @ dense.double().T).norm()), rel=1e-4)
    assert all(value == pytest.approx(0, abs=1e-5) for value in errors.values())
    assert realised.output_error is not None
    assert 0 < realised.output_error < float(error.norm() / (seen[0] @ dense.double().T).norm())
    assert all(not module._forward_hooks for module in changed.modules())


def test_without_windows_there_is_no_output_error() -> None:
    realised = judge(prune, HALF)
    assert realised.output_error is None
    assert {matrix.output_error for matrix in realised.matrices} == {None}


def test_levels_closer_than_rounding_errors_count_once() -> None:
    weight = torch.tensor([[0.0, 1.0, 1.0 + 2e-7, 3.0, 3.0 - 5e-7]])
    assert max_levels(weight, None) == 5
    assert max_levels(weight, None, 4e-7) == 3
