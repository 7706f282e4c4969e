"""Training: good on data whose features are known, the same every time, and finished as a plain SAELens SAE."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens import SAE

from saetransfer.registry.errors import RegistryError
from saetransfer.registry.saes.build import Built, make
from saetransfer.registry.saes.folder import save
from saetransfer.registry.saes.stream import Mixer
from tests.registry.saes.common import (
    D_IN,
    N_FEATURES,
    SITE,
    dead_share,
    endless,
    explained_variance,
    known_dictionary,
    known_features,
    resolved,
)

SPARSITY: dict[str, dict[str, float]] = {
    "standard": {},
    "gated": {},
    "topk": {"k": 4},
    "batchtopk": {"k": 4},
    "matryoshka": {"k": 4, "batch_size": 128},
    "jumprelu": {},
}


def trained(architecture: str, activations: Any = None, **more: Any) -> Built:
    """A small SAE of `known_features`."""
    definition = {"name": "t", "source": "trained", "on": "dense", "site": SITE, "architecture": architecture}
    entry = resolved({**definition, "d_sae": N_FEATURES, "tokens": 30_000, **SPARSITY[architecture], **more})
    return make(entry, activations=lambda: endless() if activations is None else activations)


@pytest.mark.parametrize("architecture", SPARSITY)
def test_every_architecture_finds_features_and_is_a_plain_sae(architecture: str, tmp_path: Path) -> None:
    outcome = trained(architecture)
    sae, x = outcome.sae, known_features(8000, seed=10_000)
    assert explained_variance(sae, x) > 0.8
    assert dead_share(sae, x) < 0.1
    assert (sae.encode(x) > 0).sum(dim=1).float().mean() < 16
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(N_FEATURES))
    save(sae, tmp_path)
    plain = SAE.load_from_disk(tmp_path)
    assert plain.cfg.architecture() == ("jumprelu" if architecture in ("batchtopk", "matryoshka") else architecture)
    assert torch.equal(plain(x), sae(x))


def test_topk_finds_the_very_features_that_the_data_was_made_of() -> None:
    cosines = known_dictionary() @ trained("topk").sae.W_dec.T
    assert cosines.max(dim=1).values.mean() > 0.9


def test_it_is_deterministic_and_independent_of_the_global_random_state() -> None:
    torch.manual_seed(1)
    first = trained("topk", tokens=5000).sae
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    second = trained("topk", tokens=5000).sae
    assert torch.equal(state, torch.random.get_rng_state())
    third = trained("topk", tokens=5000, seed=1).sae
    for name, weights in first.state_dict().items():
        assert torch.equal(weights, second.state_dict()[name])
    assert not torch.equal(first.W_enc, third.W_enc)


def test_scale_and_offset_of_the_activations_do_not_matter() -> None:
    x, shift = known_features(4000, seed=10_000), 50 * torch.randn(D_IN, generator=torch.Generator().manual_seed(5))
    plain = trained("topk", tokens=20_000).sae
    moved = trained("topk", (20 * chunk + shift for chunk in endless()), tokens=20_000).sae
    assert abs(explained_variance(plain, x) - explained_variance(moved, 20 * x + shift)) < 0.01


def test_it_trains_under_no_grad_and_tells_its_progress() -> None:
    told: list[float] = []
    entry = resolved(
        {"name": "t", "source": "trained", "on": "dense", "site": SITE, "architecture": "topk", "d_sae": 32, "k": 2}
        | {"tokens": 1100, "batch_size": 256}
    )
    with torch.no_grad():
        outcome = make(entry, activations=lambda: endless(chunk=77), progress=told.append)
    assert told == [0.25, 0.5, 0.75, 1.0]
    assert (outcome.cost.tokens, outcome.cost.steps) == (1024, 4) and outcome.cost.seconds > 0


def test_it_reads_no_more_than_it_needs_and_says_when_that_is_not_there() -> None:
    finite = iter(known_features(5000).split(900))
    assert trained("topk", finite, tokens=5000, batch_size=250).cost.tokens == 5000
    with pytest.raises(RegistryError, match="5000 tokens of activations are needed, but only 4900 came. Lower"):
        trained("topk", iter(known_features(4900).split(900)), tokens=5000, batch_size=250)
    with pytest.raises(RegistryError, match=r"Activations of shape \[token, 32\] are needed, got \[10, 31\]"):
        trained("topk", itertools.repeat(torch.zeros(10, 31)))
    with pytest.raises(RegistryError, match="All activations are the same"):
        trained("topk", itertools.repeat(torch.ones(100, D_IN)))


def test_an_sae_of_attention_heads_is_trained_on_flat_activations(tmp_path: Path) -> None:
    sae = trained("topk", site="blocks.1.attn.hook_z", tokens=2000).sae
    assert sae(known_features(5)).shape == (5, D_IN)
    save(sae, tmp_path)
    assert SAE.load_from_disk(tmp_path)(known_features(5).reshape(5, 4, 8)).shape == (5, 4, 8)


@pytest.mark.parametrize(("batch", "buffer"), [(7, 40), (10, 1000), (64, 16)])
def test_every_token_is_served_at_most_once_and_only_a_rest_is_lost(batch: int, buffer: int) -> None:
    numbered = torch.arange(500.0)[:, None]
    mixer, again = Mixer(500, batch, buffer, seed=0), Mixer(500, batch, buffer, seed=0)
    batches = [served for chunk in numbered.split([1, 99, 3, 297, 100]) for served in mixer.feed(chunk)]
    same = [served for chunk in numbered.split(77) for served in again.feed(chunk)]
    assert all(torch.equal(one, other) for one, other in zip(batches, same, strict=True))
    assert all(served.shape == (batch, 1) for served in batches)
    served = torch.cat(batches).flatten().tolist()
    assert len(served) == len(set(served)) == 500 // batch * batch
    assert served != sorted(served)
