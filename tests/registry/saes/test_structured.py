"""Latents taken out: which ones, what is left, and how `best` chooses how many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens import SAE

from saetransfer.registry.errors import RegistryError
from saetransfer.registry.saes.build import facts, kept_latents, load_folder, make, save
from saetransfer.registry.saes.folder import clone
from saetransfer.registry.saes.pruned import STRENGTHS
from tests.registry.saes.common import (
    ARCHITECTURES,
    D_IN,
    D_SAE,
    K,
    explained_variance,
    frozen_entry,
    known_features,
    resolved,
    sae_of,
)
from tests.registry.saes.test_pruned import TOKENS, entry_of, pruned
from tests.registry.saes.test_training import trained


def without(base: SAE[Any], kept: list[int]) -> SAE[Any]:
    """The definition, by hand: the base with all other latents silenced."""
    sae = clone(base)
    gone = [latent for latent in range(base.cfg.d_sae) if latent not in kept]
    weights = sae.state_dict()
    for bias in ("b_enc", "b_gate", "b_mag"):
        if bias in weights:
            weights[bias][gone] = -1e9
    return sae


@pytest.mark.parametrize("method", ["contribution", "frequency"])
@pytest.mark.parametrize(
    ("architecture", "config"),
    [*((architecture, {}) for architecture in ARCHITECTURES), ("topk", {"rescale_acts_by_decoder_norm": True})],
)
def test_the_lowest_go_and_the_rest_is_as_it_was(architecture: str, method: str, config: dict[str, Any]) -> None:
    base, x = sae_of(architecture, **config), known_features(TOKENS)
    latents = base.encode(x)
    norms = 1.0 if config else base.W_dec.norm(dim=1)
    scores = latents.mean(dim=0) * norms if method == "contribution" else (latents > 0).float().mean(dim=0)
    sae = pruned(base, method, 0.25)
    kept = kept_latents(sae).tolist()
    assert len(kept) == sae.cfg.d_sae == D_SAE - 16 and kept == sorted(kept)
    gone = [latent for latent in range(D_SAE) if latent not in kept]
    assert scores[gone].max() <= scores[kept].min()
    torch.testing.assert_close(sae(x), without(base, kept)(x))
    assert entry_of(method, 0.25).d_sae == sae.cfg.d_sae


@pytest.mark.parametrize("method", ["contribution", "frequency"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_taken_out_is_equal_to_the_bit(architecture: str, method: str) -> None:
    base = sae_of(architecture)
    same = pruned(base, method, 0.0)
    for name, weights in base.state_dict().items():
        assert torch.equal(weights, same.state_dict()[name])
    assert kept_latents(same).tolist() == list(range(D_SAE))


def test_silent_takes_out_what_never_fires_and_changes_nothing_on_the_same_text() -> None:
    base, x = sae_of("standard"), known_features(TOKENS)
    base.state_dict()["b_enc"][[3, 40]] = -1e6
    fires = (base.encode(x) > 0).any(dim=0).nonzero().flatten().tolist()
    sae = pruned(base, "silent")
    assert kept_latents(sae).tolist() == fires and 3 not in fires
    torch.testing.assert_close(sae(x), base(x))
    base.state_dict()["b_enc"][:] = -1e6
    with pytest.raises(RegistryError, match="no latent of its base fires on any of the 600 calibration tokens"):
        pruned(base, "silent")


def test_the_latents_of_an_sae_pruned_twice_are_those_of_the_first(tmp_path: Path) -> None:
    base = sae_of("topk")
    once = pruned(base, "contribution", 0.25)
    twice = pruned(once, "frequency", 0.25)
    save(pruned(twice, "magnitude", 0.5), tmp_path)
    back = load_folder(tmp_path)
    kept = kept_latents(back)
    assert len(kept) == 36 and set(kept.tolist()) < set(kept_latents(once).tolist())
    assert torch.equal(twice.W_enc, base.W_enc[:, kept])
    tuned = resolved({"name": "f", "source": "finetuned", "base": "frozen", "tokens": 500}, Path(), frozen_entry())
    assert torch.equal(
        kept_latents(make(tuned, base_sae=back, activations=lambda: iter([known_features(500)])).sae), kept
    )


def test_a_k_larger_than_what_is_left_is_lowered() -> None:
    sae = pruned(sae_of("topk"), "contribution", 0.97)
    assert (sae.cfg.d_sae, sae.cfg.k) == (2, 2) and K > 2
    assert sae(known_features(3)).shape == (3, D_IN)


def test_int8_weights_are_at_most_half_a_step_away_and_take_a_quarter_of_the_bytes() -> None:
    base = sae_of("gated")
    sae = pruned(base, "int8")
    for rows, exact in ((sae.W_dec, base.W_dec), (sae.W_enc.T, base.W_enc.T)):
        step = exact.abs().amax(dim=1, keepdim=True) / 127
        assert ((rows - exact).abs() <= step / 2 * 1.001).all()
        assert ((rows / step).round().abs() <= 127).all()
    matrices, scales = 2 * D_IN * D_SAE, 2 * D_SAE
    others = facts(base)["parameters"] - matrices
    assert facts(sae)["smallest_bytes"] == matrices + 4 * (scales + others)
    assert facts(base)["smallest_bytes"] == facts(base)["size_bytes"] == 4 * (matrices + others)


def test_zeros_are_counted_as_bits() -> None:
    sae = pruned(sae_of("topk"), "magnitude", 0.5)
    matrices = 2 * D_IN * D_SAE
    assert facts(sae)["smallest_bytes"] == 4 * (matrices // 2 + D_IN + D_SAE) + matrices // 8


@pytest.fixture(scope="module")
def good() -> SAE[Any]:
    """An SAE with something to lose."""
    return trained("topk").sae


@pytest.mark.parametrize("method", ["wanda", "magnitude", "contribution"])
def test_best_is_the_last_strength_before_too_much_is_lost(method: str, good: SAE[Any]) -> None:
    x = known_features(TOKENS + 8192)
    validation = x[0 if method == "magnitude" else TOKENS :][:8192]
    base = explained_variance(good, validation)
    sae = pruned(good, method, "best", tolerance=0.05, x=x)
    noted = sae.cfg.metadata.pruned
    chosen = noted["chosen"]
    assert 0 < chosen < 0.99 and explained_variance(sae, validation) >= base - 0.05
    after = STRENGTHS[STRENGTHS.index(chosen) + 1]
    assert noted["explained_variance"][str(after)] < base - 0.05
    same = pruned(good, method, chosen, x=x)
    assert torch.equal(same(x), sae(x))


def test_best_leaves_an_sae_as_it_is_where_nothing_can_go(good: SAE[Any]) -> None:
    assert pruned(good, "wanda", "best", tolerance=0).cfg.metadata.pruned["chosen"] == 0.0
