"""What holds for SAEs of every source and architecture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Float
from sae_lens import SAE
from torch import Tensor

from saetransfer.registry.saes.build import Built, Order, kept_latents, load_folder, make_many, save
from saetransfer.registry.sites import Site
from tests.registry.saes.common import ARCHITECTURES, known_features, resolved, sae_of, saved

TOKENS = 1500
PRUNED: dict[str, dict[str, Any]] = {
    "wanda": {"sparsity": 0.5, "tokens": TOKENS},
    "magnitude": {"sparsity": 0.5},
    "contribution": {"sparsity": 0.5, "tokens": TOKENS},
    "frequency": {"sparsity": 0.25, "tokens": TOKENS},
    "silent": {"tokens": TOKENS},
    "int8": {},
}
OF_ONE_TEXT: tuple[tuple[dict[str, Any], ...], ...] = (
    tuple({"source": "pruned", "base": "frozen", "method": method, **more} for method, more in PRUNED.items()),
    (
        {"source": "finetuned", "base": "frozen", "tokens": TOKENS},
        {"source": "trained", "like": "frozen", "on": "state", "tokens": TOKENS, "match_l0": True},
        {"source": "random", "like": "frozen"},
    ),
)
"""What is made in one pass: first what reads the calibration, then what reads the training text."""


def stream(chunk: int) -> Iterator[Mapping[Site, Float[Tensor, "token d_in"]]]:
    """The activations at the toy's site."""
    return ({Site(1, "resid_post"): part} for part in known_features(TOKENS + 500).split(chunk))


def made(base: SAE[Any], folder: Path, chunk: int) -> dict[str, SAE[Any]]:
    """One SAE of every source."""
    frozen = resolved({"name": "frozen", "source": "pretrained", "path": str(folder)})
    found: dict[str, SAE[Any]] = {}
    for definitions in OF_ONE_TEXT:
        entries = [resolved({"name": one.get("method", one["source"]), **one}, Path(), frozen) for one in definitions]
        built = make_many([Order(entry, base) for entry in entries], lambda _start: stream(chunk))
        for entry, one in zip(entries, built, strict=True):
            assert isinstance(one, Built)
            assert one.sae.cfg.d_sae <= entry.d_sae
            assert one.cost.seconds >= one.cost.capture_seconds and (one.cost.flops > 0) == (one.cost.tokens > 0)
            found[entry.name] = one.sae
    return found


@pytest.mark.parametrize("config", [{}, {"normalize_activations": "layer_norm", "apply_b_dec_to_input": False}])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_source_conforms(architecture: str, config: dict[str, Any], tmp_path: Path) -> None:
    """The base stays, chunk borders do not matter, and SAELens alone loads what was saved."""
    folder = saved(tmp_path / "frozen", architecture, **config)
    base, untouched, x = sae_of(architecture, **config), sae_of(architecture, **config), known_features(200, seed=9)
    whole, ragged = made(base, folder, chunk=2000), made(base, folder, chunk=77)
    for name, weights in base.state_dict().items():
        assert torch.equal(weights, untouched.state_dict()[name])
    assert base.cfg.to_dict() == untouched.cfg.to_dict()
    for name, sae in whole.items():
        save(sae, tmp_path / name)
        plain = SAE.load_from_disk(tmp_path / name)
        assert torch.equal(plain(x), sae(x)), name
        assert torch.equal(plain(x), ragged[name](x)), name
        assert torch.equal(kept_latents(load_folder(tmp_path / name)), kept_latents(sae))
        assert not sae.training and not any(parameter.requires_grad for parameter in sae.parameters())


def test_attention_heads_are_flat_while_made_and_apart_when_saved(tmp_path: Path) -> None:
    hook = "blocks.1.attn.hook_z"
    folder = saved(tmp_path / "frozen", "topk", hook_name=hook, reshape_activations="hook_z")
    frozen = resolved({"name": "frozen", "source": "pretrained", "path": str(folder)})
    base, x = load_folder(folder), known_features(5)
    definitions = (
        {"name": "small", "source": "pruned", "base": "frozen", "method": "magnitude", "sparsity": 0.5},
        {"name": "tuned", "source": "finetuned", "base": "frozen", "tokens": 500},
    )
    entries = [resolved(definition, Path(), frozen) for definition in definitions]
    built = make_many(
        [Order(entry, base) for entry in entries], lambda _start: iter([{frozen.site: known_features(500)}])
    )
    for entry, one in zip(entries, built, strict=True):
        assert isinstance(one, Built)
        save(one.sae, tmp_path / entry.name)
        apart = SAE.load_from_disk(tmp_path / entry.name)(x.reshape(5, 4, 8))
        torch.testing.assert_close(apart.flatten(1), one.sae(x))


def test_orders_that_cannot_share_a_pass_are_told_apart(tmp_path: Path) -> None:
    frozen = resolved({"name": "frozen", "source": "pretrained", "path": str(saved(tmp_path))})
    base = sae_of("topk")
    pruned = resolved({"name": "p", **OF_ONE_TEXT[0][0]}, Path(), frozen)
    tuned = resolved({"name": "f", **OF_ONE_TEXT[1][0]}, Path(), frozen)
    with pytest.raises(TypeError, match="SAEs that are made at once read one text"):
        make_many([Order(pruned, base), Order(tuned, base)], lambda _start: stream(100))
    with pytest.raises(TypeError, match=r"'f' \(finetuned\) needs activations of the state model"):
        make_many([Order(tuned, base)])
    with pytest.raises(TypeError, match=r"'f' \(finetuned\) needs the SAE that it is made from"):
        make_many([Order(tuned)], lambda _start: stream(100))
