"""Sites on every family: names, reading, replacing, replaying, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import get_args

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from saetransfer.registry.errors import RegistryError
from saetransfer.registry.families import blocks_of, family_of
from saetransfer.registry.sites import (
    Kind,
    Site,
    capture,
    last_hidden,
    last_hidden_spliced,
    parse_site,
    replay_needs,
    splice,
)
from saetransfer.registry.unembedding import Unembedding
from tests.toys import MODEL_TYPES, read_one, toy_config, toy_model, toy_tokens

TOKENS = toy_tokens()


@pytest.fixture(params=MODEL_TYPES)
def model(request: pytest.FixtureRequest) -> Iterator[PreTrainedModel]:
    with torch.inference_mode():
        yield toy_model(request.param)


def sites_of(model: PreTrainedModel) -> list[Site]:
    return [Site(layer, kind) for layer, kind in product(range(model.config.num_hidden_layers), get_args(Kind))]


def test_logits_follow_from_the_final_hidden_states_to_the_bit(model: PreTrainedModel) -> None:
    expected = model(TOKENS, use_cache=False).logits
    assert torch.equal(Unembedding(model).logits(last_hidden(model, TOKENS)), expected)


def test_a_replay_is_a_whole_pass_with_the_splice_to_the_bit(model: PreTrainedModel) -> None:
    for site in sites_of(model):
        with capture(model, [site, replay_needs(site)]) as found:
            last_hidden(model, TOKENS)
        replacement = torch.randn_like(found[site])
        with splice(model, site, replacement):
            expected = last_hidden(model, TOKENS)
        replayed = last_hidden_spliced(model, TOKENS, site, replacement, found[replay_needs(site)])
        assert torch.equal(replayed, expected), site


def test_splicing_in_what_is_there_changes_nothing_and_something_else_changes_the_outcome(
    model: PreTrainedModel,
) -> None:
    expected = last_hidden(model, TOKENS)
    for site in sites_of(model):
        own = read_one(model, TOKENS, site)
        assert own.shape == (*TOKENS.shape, site.width(model.config))
        with splice(model, site, own):
            assert torch.equal(last_hidden(model, TOKENS), expected), site
        with splice(model, site, own + 1.0 * torch.randn_like(own)):
            assert not torch.equal(last_hidden(model, TOKENS), expected), site


def test_residual_streams_are_the_hidden_states_that_transformers_reports(model: PreTrainedModel) -> None:
    reported = model(TOKENS, use_cache=False, output_hidden_states=True).hidden_states
    last = model.config.num_hidden_layers - 1
    for layer in range(last + 1):
        assert torch.equal(read_one(model, TOKENS, Site(layer, "resid_pre")), reported[layer])
        if layer < last:  # the last reported state is behind the final norm
            assert torch.equal(read_one(model, TOKENS, Site(layer, "resid_post")), reported[layer + 1])


def test_what_the_mlp_adds_to_the_stream_is_its_site(model: PreTrainedModel) -> None:
    """Zeros at `mlp_out` and at `attn_z` (up to the projection's bias) leave the stream as it came in."""
    for layer in range(model.config.num_hidden_layers):
        projection = blocks_of(model)[layer].get_submodule(family_of(model.config).attn_z)
        bias = getattr(projection, "bias", None)
        before = read_one(model, TOKENS, Site(layer, "resid_pre"))
        mlp, heads = Site(layer, "mlp_out"), Site(layer, "attn_z")
        zeros = torch.zeros_like(before), torch.zeros(*TOKENS.shape, heads.width(model.config))
        with splice(model, mlp, zeros[0]), splice(model, heads, zeros[1]):
            after = read_one(model, TOKENS, Site(layer, "resid_post"))
        assert torch.allclose(after, before + (0 if bias is None else bias), atol=1e-5)


def test_no_hook_and_no_replaced_forward_is_left_behind_even_after_a_failure(model: PreTrainedModel) -> None:
    def handles() -> int:
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())

    def replaced() -> list[nn.Module]:
        return [block for block in blocks_of(model) if "forward" in vars(block)]

    site = Site(1, "mlp_out")
    stream = read_one(model, TOKENS, replay_needs(site))
    wrong = torch.zeros(*TOKENS.shape, 5)  # the projection after it cannot take this width
    with pytest.raises(RuntimeError):
        last_hidden_spliced(model, TOKENS, site, wrong, stream)
    assert (handles(), replaced()) == (0, [])


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_hook_names_and_module_paths_name_the_same_sites(model_type: str) -> None:
    config = toy_config(model_type)
    family = family_of(config)
    for name, path in (
        ("blocks.1.hook_resid_post", f"{family.blocks}.1"),
        ("blocks.1.hook_mlp_out", f"{family.blocks}.1.{family.mlp_out}"),
        ("blocks.1.attn.hook_z", f"{family.blocks}.1.{family.attn_z}"),
    ):
        assert parse_site(name, config) == parse_site(path, config)
        assert parse_site(name, config).name == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("blocks.1.hook_resid_pst", "Did you mean 'blocks.1.hook_resid_post'?"),
        ("blocks.7.hook_mlp_out", "names layer 7, but the model has 3 layers (0 to 2)"),
        ("nonsense", "Unknown site 'nonsense'"),
        ("model.layers.1.self_attn", "Unknown site"),
    ],
)
def test_a_name_that_is_no_site_is_answered_with_what_is_allowed(name: str, said: str) -> None:
    with pytest.raises(RegistryError, match="site|layer") as raised:
        parse_site(name, toy_config("llama"))
    assert said in str(raised.value)
