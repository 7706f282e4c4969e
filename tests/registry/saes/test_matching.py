"""L0 met within a fifth, by every architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens import SAE

from saetransfer.registry.saes.build import make
from saetransfer.registry.saes.matching import l0
from tests.registry.saes.common import SITE, endless, explained_variance, frozen_entry, known_features, resolved
from tests.registry.saes.test_training import trained


@pytest.fixture(scope="module", params=[3, 6])
def frozen(request: pytest.FixtureRequest) -> SAE[Any]:
    """An SAE of another L0 than any default leads to."""
    return trained("topk", k=request.param).sae


@pytest.mark.parametrize("architecture", ["standard", "gated", "topk", "batchtopk", "matryoshka", "jumprelu"])
def test_l0_is_that_of_another_sae_on_the_same_activations(architecture: str, frozen: SAE[Any]) -> None:
    # Steering takes some hundred steps, a k none.
    tokens = 50_000 if architecture in ("standard", "gated", "jumprelu") else 15_000
    definition = {"name": "t", "source": "trained", "on": "state", "like": "frozen", "match_l0": True, "site": SITE}
    entry = resolved(
        {**definition, "architecture": architecture, "tokens": tokens, "batch_size": 100}, Path(), frozen_entry()
    )
    sae = make(entry, base_sae=frozen, activations=endless).sae
    x = known_features(8000, seed=10_000)
    assert l0(sae, x) == pytest.approx(l0(frozen, x), rel=0.2)
    noted = sae.cfg.metadata.matched_l0
    assert noted["target"] == pytest.approx(l0(frozen, x), rel=0.05)
    assert noted["reached"] == pytest.approx(l0(sae, x), rel=0.05)
    assert explained_variance(sae, x) > 0.5


def test_l0_is_the_mean_number_of_active_latents(frozen: SAE[Any]) -> None:
    x = known_features(3000)
    assert l0(frozen, x) == pytest.approx((frozen.encode(x) > 0).sum(dim=1).float().mean().item())
    assert torch.is_grad_enabled()
