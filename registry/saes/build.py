"""The one door to SAEs: make what an entry describes, and say what it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PretrainedConfig

from ..errors import RegistryError
from ..families import family_of
from ..sites import Site
from .entry import SaeEntry
from .folder import load_folder, save
from .pretrained import load, value_offset
from .pruned import PrunedParams, prune
from .random import RandomParams, randomise
from .stream import Activations
from .trained import TrainedParams
from .training import train

if TYPE_CHECKING:
    from sae_lens import SAE

__all__ = ["Built", "Cost", "describe", "facts", "load_folder", "make", "save", "value_offset"]


@dataclass(frozen=True)
class Cost:
    """What making an SAE took."""

    seconds: float
    """Wall time, that of producing the activations included."""
    tokens: int
    """Tokens of activations read; 0 where none are needed."""
    steps: int
    """Optimiser steps; 0 where nothing is trained."""


@dataclass(frozen=True)
class Built:
    """An SAE in float32, in evaluation mode, without gradients, and what it cost."""

    sae: SAE[Any]
    cost: Cost


def make(
    entry: SaeEntry,
    *,
    base_sae: SAE[Any] | None = None,
    activations: Callable[[], Activations] | None = None,
    device: str | torch.device = "cpu",
    progress: Callable[[float], None] | None = None,
    metadata: dict[str, Any] | None = None,
    offset: Float[Tensor, " d_in"] | None = None,
) -> Built:
    """Load, train, prune or draw the SAE of an entry.

    Args:
        base_sae: the SAE of `entry.base`, where it has one; it stays as it is.
        activations: gives the activations at `entry.site` of the model that `entry.on` names, in chunks
            `[token, d_in]` of valid tokens, from the start; may be endless. Called only where `entry.on` is not None.
        progress: told the fraction done, in training.
        metadata: what the cfg.json of a trained SAE shall say of its origin, see `describe`.
        offset: what `value_offset` says of the dense model, where the SAE is pretrained.

    Raises:
        RegistryError: the activations end too early, or a folder is broken.
        Impossible: a release cannot be downloaded.
        TypeError: the caller left out what the entry needs.
    """
    started = time.perf_counter()
    params, tokens, steps = entry.params, 0, 0
    if isinstance(params, TrainedParams):
        outcome = train(entry, _opened(entry, activations), progress, device, metadata)
        sae, tokens, steps = outcome.sae, outcome.tokens, outcome.steps
    elif isinstance(params, PrunedParams):
        calibration = None if entry.on is None else _opened(entry, activations)
        sae, tokens = prune(_present(entry, base_sae), params, calibration), params.tokens or 0
    elif isinstance(params, RandomParams):
        sae = randomise(_present(entry, base_sae), params.seed)
    else:
        sae = load(entry, device, offset)
    _refuse_broken(entry, sae)
    return Built(sae, Cost(time.perf_counter() - started, tokens, steps))


def _refuse_broken(entry: SaeEntry, sae: SAE[Any]) -> None:
    broken = [name for name, weight in sae.named_parameters() if not bool(weight.isfinite().all())]
    if broken:
        why = " Its training diverged: lower `lr`." if entry.source == "trained" else " The file is damaged."
        raise RegistryError(f"SAE '{entry.name}' has NaN or infinite weights in {', '.join(broken)}.{why}")


def _opened(entry: SaeEntry, activations: Callable[[], Activations] | None) -> Activations:
    if activations is None:
        raise TypeError(f"'{entry.name}' ({entry.source}) needs activations of the {entry.on} model")
    return activations()


def _present(entry: SaeEntry, base_sae: SAE[Any] | None) -> SAE[Any]:
    if base_sae is None:
        raise TypeError(f"'{entry.name}' ({entry.source}) needs the SAE that it is made from")
    return base_sae


def describe(entry: SaeEntry, config: PretrainedConfig, model_name: str) -> dict[str, Any]:
    """SAELens' metadata of an SAE that is trained here: by them other tools find the model and the place in it."""
    return {
        "model_name": model_name,
        "hook_name": entry.site.name,
        "hf_hook_name": _module_path(entry.site, config),
        "prepend_bos": entry.prepend_bos,
        "context_size": entry.context_size,
    }


def _module_path(site: Site, config: PretrainedConfig) -> str | None:
    """The module whose output is this site; None where it is a module's input, for which SAELens has no name."""
    family = family_of(config)
    if site.kind == "resid_post":
        return f"{family.blocks}.{site.layer}"
    if site.kind == "resid_pre":
        return f"{family.blocks}.{site.layer - 1}" if site.layer > 0 else None
    return f"{family.blocks}.{site.layer}.{family.mlp_out}" if site.kind == "mlp_out" else None


def facts(sae: SAE[Any]) -> dict[str, str | int]:
    """What an SAE is and how large: architecture, widths, parameters, those that are not zero, bytes in memory."""
    parameters = list(sae.parameters())
    return {
        "architecture": sae.cfg.architecture(),
        "d_in": sae.cfg.d_in,
        "d_sae": sae.cfg.d_sae,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "nonzero_parameters": sum(int(parameter.count_nonzero()) for parameter in parameters),
        "size_bytes": sum(parameter.numel() * parameter.element_size() for parameter in parameters),
    }
