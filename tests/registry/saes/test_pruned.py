"""Pruned SAEs: exact zeros in every comparison group, chosen as the definition says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Bool, Float
from pydantic import ValidationError
from sae_lens import SAE
from torch import Tensor

from saetransfer.registry.errors import RegistryError
from saetransfer.registry.saes.build import make
from saetransfer.registry.saes.entry import SaeEntry
from saetransfer.registry.saes.folder import load_folder, save
from saetransfer.registry.saes.pruned import PrunedParams
from saetransfer.registry.saes.unstructured import lowest
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

TOKENS = 600


def entry_of(method: str, sparsity: float | str | None = None, **more: Any) -> SaeEntry:
    """An entry that prunes an SAE of the toy Llama."""
    strength = {} if sparsity is None else {"sparsity": sparsity}
    definition = {"name": "p", "source": "pruned", "base": "frozen", "method": method, **strength, **more}
    return resolved(definition, Path(), frozen_entry())


def pruned(
    sae: SAE[Any],
    method: str,
    sparsity: float | str | None = None,
    chunk: int = 100,
    x: Tensor | None = None,
    **more: Any,
) -> SAE[Any]:
    """Calibrated on the first tokens of `known_features`."""
    reads_latents = {} if method in ("magnitude", "int8") else {"tokens": TOKENS}
    entry = entry_of(method, sparsity, **reads_latents, **more)
    needed = TOKENS + (8192 if sparsity == "best" else 0)
    x = known_features(needed) if x is None else x
    return make(entry, base_sae=sae, activations=lambda: iter(x.split(chunk))).sae


@pytest.mark.parametrize("method", ["wanda", "magnitude"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_group_has_exactly_its_share_of_zeros(architecture: str, method: Any) -> None:
    for sparsity in (0.3, 0.5, 0.99):
        sae = pruned(sae_of(architecture), method, sparsity)
        assert ((sae.W_enc == 0).sum(dim=0) == int(D_IN * sparsity)).all()
        assert ((sae.W_dec == 0).sum(dim=0) == int(D_SAE * sparsity)).all()


@pytest.mark.parametrize("method", ["wanda", "magnitude"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_pruned_is_equal_to_the_bit_and_the_base_stays(architecture: str, method: Any) -> None:
    base, untouched = sae_of(architecture), sae_of(architecture)
    same = pruned(base, method, 0.0)
    for name, weights in base.state_dict().items():
        assert torch.equal(weights, same.state_dict()[name])
    pruned(base, method, 0.5)
    for name, weights in base.state_dict().items():
        assert torch.equal(weights, untouched.state_dict()[name])


def slow_mask(
    weights: Float[Tensor, "input output"], inputs: Float[Tensor, "token input"], sparsity: float
) -> Bool[Tensor, "input output"]:
    """Wanda, one output at a time, as it is defined: weights [input, output], inputs [token, input]."""
    mask = torch.zeros_like(weights, dtype=torch.bool)
    for output in range(weights.shape[1]):
        scores = [
            abs(weights[i, output].item()) * inputs[:, i].double().square().sum().sqrt().item()
            for i in range(weights.shape[0])
        ]
        ranked = sorted(range(weights.shape[0]), key=lambda i: scores[i])
        mask[ranked[: int(weights.shape[0] * sparsity)], output] = True
    return mask


@pytest.mark.parametrize("config", [{}, {"normalize_activations": "layer_norm"}, {"apply_b_dec_to_input": False}])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_wanda_is_what_its_definition_says(architecture: str, config: dict[str, Any]) -> None:
    base, x = sae_of(architecture, **config), known_features(TOKENS)
    layer_norm = "normalize_activations" in config
    seen = (x - x.mean(dim=1, keepdim=True)) / (x.std(dim=1, keepdim=True) + 1e-5) if layer_norm else x
    seen = seen - base.b_dec if config.get("apply_b_dec_to_input", True) else seen
    sae = pruned(base, "wanda", 0.5)
    assert torch.equal(sae.W_enc == 0, slow_mask(base.W_enc, seen, 0.5))
    assert torch.equal(sae.W_dec == 0, slow_mask(base.W_dec, base.encode(x), 0.5))
    kept = sae.W_dec != 0
    assert torch.equal(sae.W_dec[kept], base.W_dec[kept])


def test_the_cut_of_the_text_does_not_matter() -> None:
    one, many = (pruned(sae_of("topk"), "wanda", 0.4, chunk=chunk) for chunk in (600, 7))
    assert torch.equal(one.W_enc, many.W_enc) and torch.equal(one.W_dec, many.W_dec)


def test_of_equal_scores_the_first_go() -> None:
    assert lowest(torch.ones(4, 2), 0.5).tolist() == [[True, True], [True, True], [False, False], [False, False]]


def test_latents_that_never_fire_are_the_first_to_lose_their_decoder() -> None:
    base = sae_of("standard")
    base.state_dict()["b_enc"][:20] = -1e6
    sae = pruned(base, "wanda", 0.25)
    assert (sae.W_dec[:16] == 0).all()


def test_ranking_by_decoder_norm_survives_pruning() -> None:
    base = sae_of("topk", rescale_acts_by_decoder_norm=True)
    x = known_features(100)
    sae = pruned(base, "magnitude", 0.1)
    kept = base.W_enc.masked_fill(sae.W_enc == 0, 0.0)
    ranked = ((x - base.b_dec) @ kept + base.state_dict()["b_enc"]) * base.W_dec.norm(dim=1)
    expected = torch.zeros_like(ranked).scatter_(1, ranked.topk(K).indices, 1.0) * (ranked > 0)
    assert torch.equal((sae.encode(x) > 0).float(), expected)


def test_it_says_when_activations_run_out() -> None:
    with pytest.raises(RegistryError, match="600 tokens of activations are needed, but only 599 came"):
        pruned(sae_of("topk"), "wanda", 0.5, x=known_features(599))
    assert pruned(sae_of("topk"), "wanda", 0.5, x=known_features(1000)).cfg.d_sae == D_SAE


def test_everything_cannot_be_pruned() -> None:
    with pytest.raises(ValidationError, match="not including, 1"):
        PrunedParams(method="wanda", sparsity=1.0, tokens=TOKENS)


def test_a_pruned_sae_is_saved_and_says_how_it_was_made(tmp_path: Path) -> None:
    sae = pruned(sae_of("jumprelu"), "wanda", 0.5)
    save(sae, tmp_path)
    back = load_folder(tmp_path)
    assert torch.equal(back(known_features(9)), sae(known_features(9)))
    assert back.cfg.metadata.pruned == {"method": "wanda", "sparsity": 0.5, "tokens": TOKENS}


def test_wanda_reads_the_activations() -> None:
    """Where channels differ in size, weights of large ones are worth more, and the reconstruction shows it."""
    base = sae_of("topk")
    scale = torch.linspace(0.1, 5, D_IN)
    x = known_features(TOKENS) * scale
    by_size = pruned(base, "magnitude", 0.5)
    by_input = pruned(base, "wanda", 0.5, x=x)
    unpruned = base.encode(x)

    def damage(sae: SAE[Any]) -> float:
        return (sae.encode(x) - unpruned).square().sum().item()

    assert damage(by_input) < damage(by_size)
    assert explained_variance(by_input, x) != explained_variance(by_size, x)
