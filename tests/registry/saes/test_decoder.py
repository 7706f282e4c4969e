"""What a latent writes is what the SAE's own decoder makes of it."""

from __future__ import annotations

import pytest
import torch

from saetransfer.registry.saes.decoder import decoder_rows, encode_scaled
from saetransfer.registry.saes.inputs import reconstruct
from tests.registry.saes.common import ARCHITECTURES, D_IN, sae_of

X = torch.randn(40, D_IN, generator=torch.Generator().manual_seed(3)) * torch.linspace(1, 5, 40)[:, None]


@pytest.mark.parametrize("normalisation", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.inference_mode()
def test_taking_a_latent_away_takes_away_its_row_at_the_scale_of_the_token(
    architecture: str, normalisation: str
) -> None:
    sae = sae_of(architecture, normalize_activations=normalisation)
    features, scale = encode_scaled(sae, X)
    latent = int(features.sum(dim=0).argmax())
    whole = sae.decode(features)
    encode_scaled(sae, X)  # SAELens forgets the scale of the tokens once it has decoded them
    ablated = features.clone()
    ablated[:, latent] = 0.0
    lost = whole - sae.decode(ablated)
    written = features[:, latent, None] * (1.0 if scale is None else scale)
    torch.testing.assert_close(lost, written * decoder_rows(sae)[latent], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_rows_of_topk_saes_that_rescale_latents_are_divided_by_their_norms() -> None:
    sae = sae_of("topk", rescale_acts_by_decoder_norm=True)
    one = torch.eye(sae.cfg.d_sae)
    assert torch.allclose(sae.decode(one) - sae.decode(0 * one), decoder_rows(sae), atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_few_latents_are_decoded_as_many_are(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sae = sae_of(architecture, d_in=256, d_sae=512)
    x = torch.randn(9, 256)
    latents = torch.zeros(9, 512)
    latents[torch.arange(8), torch.arange(8) * 3] = torch.rand(8)  # the last token has none
    taken: list[bool] = []
    decode = sae.decode
    monkeypatch.setattr(sae, "decode", lambda f: taken.append(f.is_sparse) or decode(f))
    assert torch.allclose(reconstruct(sae, latents, x), decode(latents), atol=1e-6)
    reconstruct(sae, torch.rand(9, 512), x)
    assert taken == [True, False]
