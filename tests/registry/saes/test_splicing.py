"""An SAE in a running model does what the measuring pass computes, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, get_args

import pytest
import torch
from jaxtyping import Int
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig
from torch import Tensor
from transformers import PreTrainedModel

from saetransfer.registry.saes.splicing import spliced
from saetransfer.registry.sites import Kind, Site, capture, last_hidden, last_hidden_spliced, replay_needs
from saetransfer.registry.unembedding import Unembedding
from tests.toys import toy_model, toy_tokens

SPECIAL = (0, 1, 2)  # BOS, EOS, padding of the toys
TOKENS = toy_tokens(batch=3, positions=10)


@pytest.fixture(params=["llama", "gpt2", "gemma2"])
def model(request: pytest.FixtureRequest) -> Iterator[PreTrainedModel]:
    with torch.inference_mode():
        yield toy_model(request.param)


def sites_of(model: PreTrainedModel) -> list[Site]:
    return [Site(layer, kind) for layer, kind in product((0, 1), get_args(Kind))]


def toy_sae(width: int) -> TopKSAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TopKSAE(TopKSAEConfig(d_in=width, d_sae=64, k=6)).eval().requires_grad_(False)


def identity_sae(width: int) -> TopKSAE:
    """Every channel has a latent for either sign; none is ever left out."""
    sae = TopKSAE(TopKSAEConfig(d_in=width, d_sae=2 * width, k=2 * width)).eval().requires_grad_(False)
    both = torch.cat([torch.eye(width), -torch.eye(width)])
    sae.W_enc.copy_(both.T)
    sae.W_dec.copy_(both)
    return sae


def padded(rows: list[Tensor], side: str) -> tuple[Int[Tensor, "batch position"], Int[Tensor, "batch position"]]:
    """Token ids and attention mask."""
    mask = [torch.ones(len(row), dtype=torch.long) for row in rows]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=2, padding_side=side)
    return ids, torch.nn.utils.rnn.pad_sequence(mask, batch_first=True, padding_side=side)


def test_logits_are_those_of_the_measuring_pass(model: PreTrainedModel) -> None:
    text = TOKENS > 2
    for site in sites_of(model):
        sae = toy_sae(site.width(model.config))
        with capture(model, [site, replay_needs(site)]) as found:
            last_hidden(model, TOKENS)
        own = found[site]
        replacement = own.masked_scatter(text[..., None], sae.decode(sae.encode(own[text])))
        hidden = last_hidden_spliced(model, TOKENS, site, replacement, found[replay_needs(site)])
        with spliced(model, site, sae, SPECIAL):
            assert torch.equal(model(TOKENS, use_cache=False).logits, Unembedding(model).logits(hidden)), site


def test_an_sae_that_rebuilds_everything_changes_nothing_and_another_does(model: PreTrainedModel) -> None:
    expected = model(TOKENS, use_cache=False).logits
    for site in sites_of(model):
        width = site.width(model.config)
        with spliced(model, site, identity_sae(width), SPECIAL):
            torch.testing.assert_close(model(TOKENS, use_cache=False).logits, expected)
        with spliced(model, site, toy_sae(width), SPECIAL):
            assert (model(TOKENS, use_cache=False).logits - expected).abs().max() > 1e-2, site


def test_special_tokens_keep_their_own_activations(model: PreTrainedModel) -> None:
    specials = torch.tensor([[0, 1, 0, 1]])
    expected = model(specials, use_cache=False).logits
    for site in sites_of(model):
        with spliced(model, site, toy_sae(site.width(model.config)), SPECIAL):
            assert torch.equal(model(specials, use_cache=False).logits, expected)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_changes_no_prediction(model: PreTrainedModel, side: str) -> None:
    rows = [TOKENS[0, :4], TOKENS[1, :7], TOKENS[2]]
    ids, mask = padded(rows, side)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    site = Site(1, "resid_post")
    with spliced(model, site, toy_sae(32), SPECIAL):
        together = model(ids, attention_mask=mask, position_ids=positions, use_cache=False).logits
        for row, of_row, logits in zip(rows, mask.bool(), together, strict=True):
            alone = model(row[None], use_cache=False).logits[0]
            torch.testing.assert_close(logits[of_row], alone, rtol=1e-4, atol=1e-4)


def test_generation_with_a_cache_is_generation_without(model: PreTrainedModel) -> None:
    settings = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 2}
    mask = torch.ones_like(TOKENS)
    generate: Any = model.generate
    with spliced(model, Site(0, "resid_post"), toy_sae(32), SPECIAL):
        cached = generate(TOKENS, attention_mask=mask, use_cache=True, **settings)
        uncached = generate(TOKENS, attention_mask=mask, use_cache=False, **settings)
    assert torch.equal(cached, uncached)


def test_it_is_gone_afterwards_whatever_happens(model: PreTrainedModel) -> None:
    expected = model(TOKENS, use_cache=False).logits
    with pytest.raises(RuntimeError, match="stop"), spliced(model, Site(0, "resid_post"), toy_sae(32), SPECIAL):
        raise RuntimeError("stop")
    assert torch.equal(model(TOKENS, use_cache=False).logits, expected)


def test_embeddings_in_place_of_tokens_are_refused(model: PreTrainedModel) -> None:
    embeddings = model.get_input_embeddings()(TOKENS)
    with (
        spliced(model, Site(0, "resid_post"), toy_sae(32), SPECIAL),
        pytest.raises(TypeError, match="must be called with token ids"),
    ):
        model(inputs_embeds=embeddings)
