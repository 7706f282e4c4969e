"""Finetuning: from the base's weights, with its latents in their places, to what the new activations ask for."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens import SAE

from saetransfer.registry.errors import RegistryError
from saetransfer.registry.saes.build import Built, make
from saetransfer.registry.saes.matching import l0
from tests.registry.saes.common import (
    ARCHITECTURES,
    endless,
    explained_variance,
    frozen_entry,
    known_features,
    resolved,
    sae_of,
)
from tests.registry.saes.test_training import trained

TURN = torch.linalg.qr(torch.eye(32) + 0.05 * torch.randn(32, 32, generator=torch.Generator().manual_seed(3))).Q


def finetuned(base: SAE[Any], activations: Any, **more: Any) -> Built:
    """A moment of training."""
    definition = {"name": "f", "source": "finetuned", "base": "frozen", "on": "state", **more}
    return make(resolved(definition, Path(), frozen_entry()), base_sae=base, activations=lambda: activations)


EVERYWHERE: tuple[dict[str, Any], ...] = (
    {},
    {"normalize_activations": "layer_norm"},
    {"normalize_activations": "constant_norm_rescale", "apply_b_dec_to_input": False},
)


@pytest.mark.parametrize(
    ("architecture", "config"),
    [*product(ARCHITECTURES, EVERYWHERE), ("topk", {"rescale_acts_by_decoder_norm": True})],
)
def test_it_starts_from_the_very_base(architecture: str, config: dict[str, Any]) -> None:
    """With a learning rate of nothing, nothing is changed: units and normalisation are put back as they were."""
    base, x = sae_of(architecture, **config), 20 * known_features(300)
    same = finetuned(base, iter([x]), tokens=256, lr=1e-30).sae
    for name, weights in base.state_dict().items():
        torch.testing.assert_close(same.state_dict()[name], weights, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(same(x), base(x), rtol=1e-4, atol=1e-3)
    assert same.cfg.to_dict()["normalize_activations"] == base.cfg.normalize_activations


@pytest.mark.parametrize("architecture", ["standard", "gated", "topk", "batchtopk", "jumprelu"])
def test_it_wins_back_what_a_change_of_the_model_took(architecture: str) -> None:
    """The features turn a little; each latent turns after its own, at the base's L0."""
    base = trained(architecture).sae
    x = known_features(8000, seed=10_000) @ TURN
    before = explained_variance(base, x)
    sae = finetuned(base, (chunk @ TURN for chunk in endless()), tokens=20_000).sae
    unturned = explained_variance(base, known_features(8000, seed=10_000))
    assert explained_variance(sae, x) - before > 0.5 * (unturned - before) > 0.01
    assert l0(sae, x) == pytest.approx(l0(base, x), rel=0.2)
    cosines = torch.nn.functional.normalize(sae.W_dec, dim=1) @ torch.nn.functional.normalize(base.W_dec, dim=1).T
    alive = (base.encode(x) > 0).any(dim=0)
    assert (cosines.argmax(dim=1) == torch.arange(len(cosines)))[alive].all()


def test_what_fell_silent_is_not_revived() -> None:
    base = trained("topk").sae
    base.state_dict()["b_enc"][7] = -1e6
    sae = finetuned(base, endless(), tokens=10_000).sae
    assert torch.equal(sae.W_dec[7], base.W_dec[7]) and not (sae.encode(known_features(2000)) > 0)[:, 7].any()


def test_costs_and_metadata_say_what_was_done() -> None:
    built = finetuned(sae_of("standard"), endless(), tokens=1000)
    assert (built.cost.tokens, built.cost.steps) == (768, 3)
    assert built.sae.cfg.metadata.finetuned["tokens"] == 1000
    assert set(built.sae.cfg.metadata.matched_l0) == {"target", "reached", "l1_coefficient"}
    with pytest.raises(RegistryError, match="Its training diverged: lower `lr`"):
        finetuned(sae_of("standard"), endless(), tokens=1000, lr=1e30)
