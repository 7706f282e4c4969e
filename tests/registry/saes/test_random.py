"""The negative control: everything of the original but what it has learnt."""

from __future__ import annotations

import pytest
import torch

from saetransfer.registry.saes.random import randomise
from tests.registry.saes.common import ARCHITECTURES, explained_variance, known_features, sae_of
from tests.registry.saes.test_training import trained


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_norms_biases_and_conventions_stay(architecture: str) -> None:
    like = sae_of(architecture)
    sae = randomise(like, seed=0)
    torch.testing.assert_close(sae.W_enc.norm(dim=0), like.W_enc.norm(dim=0))
    torch.testing.assert_close(sae.W_dec.norm(dim=1), like.W_dec.norm(dim=1))
    for name, weights in like.state_dict().items():
        assert torch.equal(weights, sae.state_dict()[name]) is (name not in ("W_enc", "W_dec"))
    for key in ("d_in", "d_sae", "normalize_activations", "apply_b_dec_to_input"):
        assert getattr(sae.cfg, key) == getattr(like.cfg, key)
    assert getattr(sae.cfg, "k", None) == getattr(like.cfg, "k", None)


def test_a_latent_reads_and_writes_in_one_direction() -> None:
    sae = randomise(sae_of("standard"), seed=0)
    cosine = torch.nn.functional.cosine_similarity(sae.W_enc.T, sae.W_dec, dim=1)
    torch.testing.assert_close(cosine, torch.ones_like(cosine))


def test_it_follows_its_seed_and_nothing_else() -> None:
    like = sae_of("topk")
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = randomise(like, seed=0)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(first.W_dec, randomise(like, seed=0).W_dec)
    assert not torch.equal(first.W_dec, randomise(like, seed=1).W_dec)
    assert torch.equal(like.W_dec, sae_of("topk").W_dec)


def test_it_is_clearly_worse_than_what_it_looks_like() -> None:
    real, x = trained("topk").sae, known_features(4000, seed=10_000)
    assert explained_variance(randomise(real, seed=0), x) < explained_variance(real, x) - 0.3
