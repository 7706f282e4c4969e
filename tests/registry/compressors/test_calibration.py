"""Calibration: what a compressor sees is what the model sees."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from saetransfer.registry.calibration import Calibration
from saetransfer.registry.compressors.linear import linear_layers
from saetransfer.registry.errors import RegistryError
from tests.registry.compressors.common import calibration
from tests.toys import MODEL_TYPES, toy_model, toy_tokens


def whole_pass_inputs(model: PreTrainedModel, text: Calibration, prefix: str) -> dict[str, list[torch.Tensor]]:
    """Inputs of the linear layers of one block in passes of the whole model over each window alone."""
    seen: dict[str, list[torch.Tensor]] = {}
    handles = []
    for layer in linear_layers(model):
        if not layer.name.startswith(prefix):
            continue
        rows = seen.setdefault(layer.name.removeprefix(prefix), [])
        keep = _keeper(rows)
        handles.append(layer.module.register_forward_pre_hook(keep))
    with torch.no_grad():
        for window in text.windows:
            model(window[None], use_cache=False)
    for handle in handles:
        handle.remove()
    return seen


def _keeper(rows: list[torch.Tensor]) -> Any:
    def keep(_module: Any, args: tuple[Any, ...]) -> None:
        rows.append(args[0][0])

    return keep


@pytest.mark.parametrize("family", MODEL_TYPES)
def test_inputs_are_those_of_the_model_whose_earlier_blocks_have_changed(family: str) -> None:
    model = toy_model(family)
    text = calibration((20, 12, 20, 7), batch_size=2)  # longer than the sliding window of 8
    path = linear_layers(model)[0].name.split(".0.")[0]
    for block in text.blocks(model):
        seen: dict[str, list[torch.Tensor]] = {}
        block.observe(lambda name, inputs, seen=seen: seen.setdefault(name, []).append(inputs))
        expected = whole_pass_inputs(model, text, f"{path}.{block.index}.")
        assert set(seen) == set(expected) == {layer.name for layer in block.layers}
        for name, batches in seen.items():
            inputs = torch.cat(batches)
            assert inputs.shape[0] == text.n_tokens
            torch.testing.assert_close(inputs, torch.cat(expected[name]), rtol=1e-4, atol=1e-5)
        for layer in block.layers:
            layer.set_weight(layer.weight * 0.7)


def test_observing_leaves_no_hook_and_no_cache_and_changes_nothing() -> None:
    model = toy_model("gemma2")
    twin = copy.deepcopy(model)
    caches: list[object] = []
    attention = model.model.layers[1].self_attn
    handle = attention.register_forward_pre_hook(
        lambda _module, _args, kwargs: caches.append(kwargs.get("past_key_values")), with_kwargs=True
    )
    for block in calibration().blocks(model):
        block.observe(lambda _name, _inputs: None)
        block.observe(lambda _name, _inputs: None)
    handle.remove()
    assert caches
    assert set(caches) == {None}
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert all("forward" not in vars(module) for module in model.modules())
    with torch.no_grad():
        assert torch.equal(model(toy_tokens()).logits, twin(toy_tokens()).logits)


def test_an_error_while_observing_leaves_no_hook() -> None:
    model = toy_model("llama")

    def fail(_name: str, _inputs: torch.Tensor) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        next(calibration().blocks(model)).observe(fail)
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())


def test_batches_are_padded_on_the_right_and_say_so() -> None:
    text = calibration((5, 3, 4), batch_size=2)
    first, last = text.batches()
    assert first.tokens.shape == (2, 5)
    assert first.valid.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert torch.equal(first.tokens[1, :3], text.windows[1])
    assert last.tokens.shape == (1, 4)
    assert (text.n_sequences, text.n_tokens) == (3, 12)


@pytest.mark.parametrize("windows", [[], [torch.tensor([], dtype=torch.long)]])
def test_windows_that_are_none_are_refused(windows: list[torch.Tensor]) -> None:
    with pytest.raises(RegistryError, match="at least one window"):
        Calibration(windows)
    with pytest.raises(RegistryError, match="batch size .* got 0"):
        Calibration([toy_tokens()[0]], batch_size=0)


@pytest.mark.parametrize("family", MODEL_TYPES)
def test_linear_layers_are_those_of_the_blocks_and_multiply_as_their_modules_do(family: str) -> None:
    model = toy_model(family)
    names = {layer.name for layer in linear_layers(model)}
    assert not any("lm_head" in name or "embed" in name or "norm" in name for name in names)
    assert len(names) % model.config.num_hidden_layers == 0
    for layer in linear_layers(model):
        inputs = torch.randn(3, layer.shape[1])
        with torch.no_grad():
            expected = inputs @ layer.weight.T + (0 if layer.module.bias is None else layer.module.bias)
            torch.testing.assert_close(layer.module(inputs), expected, rtol=1e-4, atol=1e-5)
        assert layer.stored_bytes == layer.weight.numel() * 4


def test_setting_a_matrix_of_another_shape_is_refused() -> None:
    layer = linear_layers(toy_model("gpt2"))[0]
    with pytest.raises(ValueError, match="holds a matrix of shape"):
        layer.set_weight(layer.weight.T)
