"""What the methods of libraries ask of a model before they change anything."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from saetransfer.registry.compressors.kernels.layers import as_linear, dense_layers
from saetransfer.registry.compressors.linear import linear_layers
from saetransfer.registry.errors import RegistryError
from tests.registry.compressors.common import FAMILIES, compressed, weights, wide_toy
from tests.toys import toy_tokens


@pytest.mark.parametrize("family", FAMILIES)
def test_turning_changes_no_weight_no_name_and_no_logit(family: str) -> None:
    model = wide_toy(family)
    before, names = weights(model), [name for name, _ in model.named_parameters()]
    with torch.no_grad():
        logits = model(toy_tokens()).logits
        layers = as_linear(model)
        turned = model(toy_tokens()).logits
    assert {type(layer.module) for layer in layers} == {nn.Linear}
    assert all(layer.module.weight.is_contiguous() and not layer.module.training for layer in layers)
    assert [name for name, _ in model.named_parameters()] == names
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())
    torch.testing.assert_close(turned, logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["bnb-int8", "bnb-nf4"])
def test_a_hook_that_would_get_lost_is_refused(name: str) -> None:
    model = wide_toy("gpt2")
    linear_layers(model)[3].module.register_forward_pre_hook(lambda _module, args: args)
    with pytest.raises(RegistryError, match=r"transformer.h.0.mlp.c_proj carries a hook of an earlier step"):
        compressed(model, name)
    assert len(dense_layers(wide_toy("gpt2"))) == 12
