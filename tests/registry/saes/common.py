"""SAEs and activations small enough for tests: everything drawn from a seed, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from jaxtyping import Float
from sae_lens import SAE
from torch import Tensor

from saetransfer.registry.saes.entry import SaeEntry
from saetransfer.registry.saes.folder import ready, save
from saetransfer.registry.saes.resolve import resolve
from tests.toys import toy_config

D_IN, D_SAE, K, N_FEATURES = 32, 64, 4, 48
SITE = "blocks.1.hook_resid_post"
ARCHITECTURES = ("standard", "gated", "topk", "jumprelu")


def sae_of(architecture: str, seed: int = 0, hook_name: str = SITE, **config: Any) -> SAE[Any]:
    """A finished SAE with random weights and biases that matter."""
    own = {"k": K} if architecture == "topk" else {}
    metadata = {"hook_name": hook_name, "prepend_bos": True, "context_size": 128, "model_name": "toy"}
    described = {"architecture": architecture, "d_in": D_IN, "d_sae": D_SAE, "metadata": metadata, **own, **config}
    sae = ready(SAE.from_dict(described))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.2 * (noise.abs() if name == "threshold" else noise))
    return sae


def saved(folder: Path, architecture: str = "topk", **config: Any) -> Path:
    """A folder with such an SAE."""
    save(sae_of(architecture, **config), folder)
    return folder


def resolved(definition: str | dict[str, Any], folder: Path = Path(), *named: SaeEntry) -> SaeEntry:
    """A definition, understood beside a toy Llama."""
    return resolve(definition, folder=folder, named={entry.name: entry for entry in named}, config=toy_config("llama"))


@cache
def frozen_entry() -> SaeEntry:
    """The entry, called `frozen`, of a TopK SAE with the widths of all the others here."""
    with TemporaryDirectory() as folder:
        return resolved({"name": "frozen", "source": "pretrained", "path": str(saved(Path(folder)))})


def known_dictionary() -> Float[Tensor, "feature d_in"]:
    """The unit directions that `known_features` is made of."""
    generator = torch.Generator().manual_seed(123)
    return torch.nn.functional.normalize(torch.randn(N_FEATURES, D_IN, generator=generator), dim=1)


def known_features(tokens: int, seed: int = 0) -> Float[Tensor, "token d_in"]:
    """Sums of on average three features of the dictionary, each with its own strength, and an offset."""
    offset = 3 * torch.randn(D_IN, generator=torch.Generator().manual_seed(124))
    generator = torch.Generator().manual_seed(seed)
    active = torch.rand(tokens, N_FEATURES, generator=generator) < 3 / N_FEATURES
    strength = 1 + torch.rand(tokens, N_FEATURES, generator=generator)
    return (active * strength) @ known_dictionary() + offset


def endless(chunk: int = 1000, seed: int = 0) -> Iterator[Float[Tensor, "token d_in"]]:
    """Ever more of `known_features`."""
    while True:
        seed += 1
        yield known_features(chunk, seed)


def explained_variance(sae: SAE[Any], x: Float[Tensor, "token d_in"]) -> float:
    """1 - residual variance / variance."""
    with torch.no_grad():
        residual = (x - sae(x)).square().sum()
    return 1 - (residual / (x - x.mean(dim=0)).square().sum()).item()


def dead_share(sae: SAE[Any], x: Float[Tensor, "token d_in"]) -> float:
    """Share of latents that are active on no token."""
    return 1 - (sae.encode(x) > 0).any(dim=0).float().mean().item()
