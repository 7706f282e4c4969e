"""Whole blocks taken out: what is left, which go, and where the sites of the dense model are then."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import product
from typing import Any, get_args

import pytest
import torch
from transformers import PreTrainedModel

from saetransfer.registry.compressors.method import Compressor
from saetransfer.registry.compressors.outcome import NotCompressed
from saetransfer.registry.compressors.promise import Promise, Zeros
from saetransfer.registry.compressors.structured.blocks import DROP_BLOCKS, block_influences
from saetransfer.registry.errors import Impossible, RegistryError
from saetransfer.registry.families import blocks_of, family_of
from saetransfer.registry.sites import (
    Kind,
    Site,
    capture,
    last_hidden,
    last_hidden_spliced,
    locate,
    replay_needs,
    splice,
)
from saetransfer.registry.structure import kept_blocks, name_now
from tests.registry.compressors.common import calibration, compressed, compressor, generated, verified, weights
from tests.toys import MODEL_TYPES, read_one, toy_model, toy_tokens

TOKENS = toy_tokens()


def dropping(*blocks: int) -> dict[str, Any]:
    return {"name": "d", "method": "drop-blocks", "blocks": list(blocks)}


def with_identity(model: PreTrainedModel, *blocks: int) -> PreTrainedModel:
    """The model in which those blocks give what they get."""
    twin = copy.deepcopy(model)
    tuples = family_of(model.config).blocks_give_tuples
    for index in blocks:
        blocks_of(twin)[index].forward = lambda hidden, *_args, **_kwargs: (hidden,) if tuples else hidden
    return twin


@pytest.mark.parametrize("family", MODEL_TYPES)
@pytest.mark.parametrize("blocks", [(0,), (1,), (2, 0)])
@torch.no_grad()
def test_a_block_less_is_a_block_that_does_nothing(family: str, blocks: tuple[int, ...]) -> None:
    model = toy_model(family)
    result = compressed(model, dropping(*blocks))
    assert torch.equal(result(TOKENS).logits, with_identity(model, *blocks)(TOKENS, use_cache=False).logits)
    assert result.num_parameters() < model.num_parameters()
    assert result.config.num_hidden_layers == len(blocks_of(result)) == len(blocks_of(model)) - len(blocks)
    result.config.validate()
    assert torch.equal(generated(result, use_cache=True), generated(result, use_cache=False))


@pytest.mark.parametrize("family", MODEL_TYPES)
def test_influence_is_one_minus_the_mean_cosine_over_tokens(family: str) -> None:
    model = toy_model(family)
    found = block_influences(model, calibration())
    for index in range(len(blocks_of(model))):
        cosines: list[float] = []
        for window in calibration().windows:
            before, after = (
                read_one(model, window[None], Site(index, kind))[0].double() for kind in ("resid_pre", "resid_post")
            )
            cosines += [
                (x @ y / x.square().sum().sqrt() / y.square().sum().sqrt()).item()
                for x, y in zip(before, after, strict=True)
            ]
        assert found[index].item() == pytest.approx(1 - sum(cosines) / len(cosines), abs=1e-6)


@pytest.mark.parametrize("family", MODEL_TYPES)
def test_blocks_that_add_nothing_go_first(family: str) -> None:
    model = toy_model(family)
    family_row = family_of(model.config)
    for name in (family_row.attn_z, family_row.wiring.neurons_out):
        layer = blocks_of(model)[1].get_submodule(name)
        for parameter in layer.parameters():
            parameter.data.zero_()
    result, realised = verified(model, compressor("drop-1-block"))
    assert kept_blocks(result) == tuple(index for index in range(len(blocks_of(model))) if index != 1)
    assert realised.logit_change < 1e-5


def test_blocks_are_counted_as_in_the_dense_model_also_after_others_are_gone() -> None:
    chain = {"name": "c", "chain": [dropping(0), dropping(2)]}
    result = compressed(toy_model("llama"), chain)
    assert kept_blocks(result) == kept_blocks(copy.deepcopy(result)) == (1,)
    assert name_now(result, "model.layers.1.mlp.up_proj") == "model.layers.0.mlp.up_proj"
    assert name_now(result, "model.layers.1") == "model.layers.0"
    assert name_now(result, "model.layers.2.mlp.up_proj") is None
    assert name_now(result, "model.norm.weight") == "model.norm.weight"
    with pytest.raises(RegistryError, match="no block 0 to take out; those of the model are 1, 2"):
        compressed(toy_model("llama"), {"name": "c", "chain": [dropping(0), dropping(0)]})


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "Give either `count`"),
        ({"count": 1, "blocks": [0]}, "Give either `count`"),
        ({"blocks": [1, 1]}, "names a block twice"),
        ({"count": 0}, "greater than or equal to 1"),
        ({"blocks": []}, "at least 1 item"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused_before_a_run(params: dict[str, Any], said: str) -> None:
    with pytest.raises(RegistryError, match=said):
        compressor({"name": "d", "method": "drop-blocks", **params})


def test_a_model_keeps_a_block() -> None:
    with pytest.raises(RegistryError, match="has 3 blocks and must keep one: 3 cannot"):
        compressed(toy_model("llama"), {"name": "d", "method": "drop-blocks", "count": 3})


CHAINS = {
    "rounded": ["drop-1-block", "rtn-4"],
    "twice": ["drop-1-block", "drop-1-block"],
    "shares by block": ["drop-1-block", {"method": "magnitude", "sparsity": [0.3, 0.6]}],
    "shares by block before": [{"method": "magnitude", "sparsity": [0.3, 0.6, 0.4]}, "drop-1-block"],
    "by outliers": [{"method": "wanda", "sparsity": 0.5, "allocation": "owl"}, "drop-1-block"],
    "model-wide": ["drop-1-block", {"method": "magnitude", "sparsity": 0.5, "scope": "model"}],
    "units": ["heads-50", "drop-1-block", "neurons-25"],
    "all of it": ["neurons-50", "drop-1-block", "wanda-50"],
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_chains_keep_all_their_promises(chain: list[Any]) -> None:
    realised = verified(toy_model("llama"), compressor({"name": "chain", "chain": chain}))[1]
    assert realised.verified
    assert realised.output_error is None
    gone = [matrix for matrix in realised.matrices if matrix.removed == 1]
    assert len({matrix.block for matrix in gone}) == (2 if chain == CHAINS["twice"] else 1)
    assert all((m.sparsity, m.weight_error, m.effective_bits, m.output_error) == (1, 1, 0, None) for m in gone)


def test_a_dropped_block_is_in_every_figure() -> None:
    model = toy_model("llama")
    result, realised = verified(model, compressor("drop-1-block"))
    assert realised.sparsity == realised.coverage == pytest.approx(1 / 3)
    assert realised.effective_bits == pytest.approx(32 * 2 / 3)
    assert realised.bytes.dense - realised.bytes.actual == 4 * (model.num_parameters() - result.num_parameters())
    gone = sum(weight.square().sum() for weight in weights(model).values()) - sum(
        weight.square().sum() for weight in weights(result).values()
    )
    total = sum(weight.square().sum() for weight in weights(model).values())
    assert realised.weight_error == pytest.approx(float(gone / total) ** 0.5, rel=1e-5)


def test_blocks_that_were_not_promised_to_go_are_found_out() -> None:
    step = compressor(dropping(1)).steps[0]
    lying = replace(DROP_BLOCKS, promise=lambda _params: Promise(drops_blocks=2))
    with pytest.raises(NotCompressed, match="2 blocks were to be taken out, and 1 were"):
        verified(toy_model("llama"), Compressor("lying", (replace(step, method=lying),)))
    silent = replace(DROP_BLOCKS, promise=lambda _params: Promise(zeros=(Zeros(0.5),)))
    with pytest.raises(NotCompressed, match="0 blocks were to be taken out, and 1 were"):
        verified(toy_model("llama"), Compressor("silent", (replace(step, method=silent),)))


@pytest.mark.parametrize("family", MODEL_TYPES)
@pytest.mark.parametrize("blocks", [(0,), (1, 2)])
@torch.inference_mode()
def test_sites_of_the_dense_model_are_found_in_a_model_with_fewer_blocks(family: str, blocks: tuple[int, ...]) -> None:
    model = toy_model(family)
    result, twin = compressed(model, dropping(*blocks)), with_identity(model, *blocks)
    for site in (Site(layer, kind) for layer, kind in product(range(len(blocks_of(model))), get_args(Kind))):
        if site.layer in blocks and site.kind in ("mlp_out", "attn_z"):
            with pytest.raises(Impossible, match=f"Block {site.layer} was taken out"):
                locate(result, site)
            continue
        place = locate(result, site)
        with capture(result, [place, replay_needs(place)]) as found:
            last_hidden(result, TOKENS)
        assert torch.equal(found[place], read_one(twin, TOKENS, site))
        other = torch.randn_like(found[place])
        with splice(twin, site, other):
            expected = last_hidden(twin, TOKENS)
        replayed = last_hidden_spliced(result, TOKENS, place, other, found[replay_needs(place)])
        assert torch.equal(replayed, expected), site


def test_what_lost_heads_is_no_place_for_an_sae_and_everything_else_is() -> None:
    model = toy_model("llama")
    assert locate(model, Site(1, "attn_z")) == Site(1, "attn_z")
    result = compressed(model, "heads-50")
    with pytest.raises(Impossible, match=r"block 1: blocks.1.attn.hook_z has 16 channels, and an SAE .* reads 32"):
        locate(result, Site(1, "attn_z"))
    assert locate(result, Site(1, "mlp_out")) == Site(1, "mlp_out")
    assert locate(compressed(model, "neurons-50"), Site(1, "attn_z")) == Site(1, "attn_z")
