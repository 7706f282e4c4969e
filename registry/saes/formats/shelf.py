"""All formats of other libraries: which one a path holds, what it says, and its SAE."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...errors import RegistryError, unknown
from ...foreign import json_object
from ..arrays import Device, read
from ..config import SaeConfig, parse_config
from ..folder import CONFIG_FILE, WEIGHTS_FILE, check_weights, quiet, ready, shapes
from .dictionary_learning import DICTIONARY_LEARNING
from .gemma_scope import GEMMA_SCOPE
from .kind import Format, Raw
from .openai import OPENAI
from .sparsify import SPARSIFY

if TYPE_CHECKING:
    from sae_lens import SAE

SAELENS = "saelens"
FORMATS = {form.name: form for form in (GEMMA_SCOPE, SPARSIFY, DICTIONARY_LEARNING, OPENAI)}


def detect(path: Path, name: str | None) -> Format | None:
    """The format of the SAE at a path; None for SAELens' own, which is also what stands for a folder with nothing.

    Args:
        name: what the suite says of it; None: whatever its files are called.

    Raises:
        RegistryError: no such format, or the path holds several.
    """
    if name is not None and name not in (SAELENS, *FORMATS):
        raise unknown("format of SAEs", name, (SAELENS, *FORMATS))
    if name == SAELENS or (name is None and (path / WEIGHTS_FILE).is_file() and (path / CONFIG_FILE).is_file()):
        return None
    if name is not None:
        if not FORMATS[name].holds(path):
            raise RegistryError(f"'{path}' is no SAE in the format {name}: {FORMATS[name].files()} are needed.")
        return FORMATS[name]
    found = [form for form in FORMATS.values() if form.holds(path)]
    if len(found) > 1:
        names = ", ".join(form.name for form in found)
        raise RegistryError(f"'{path}' holds SAEs in several formats ({names}). Say which: `format: {found[0].name}`.")
    return found[0] if found else None


def describe(form: Format, path: Path) -> SaeConfig:
    """The conventions of the SAE at a path; its weights are checked against them, not read.

    Raises:
        RegistryError: a file is damaged or foreign, or SAELens has no such SAE.
    """
    described, raw = _described(form, path, "meta")
    config = parse_config(described, f"The SAE in '{path}'")
    weights = form.convert(raw, config.architecture)
    check_weights(form.weights_file(path), weights, config)
    if strange := sorted(weights.keys() - shapes(config)):
        raise RegistryError(
            f"'{form.weights_file(path)}' has {', '.join(strange)}, which no {config.architecture} SAE of SAELens has: "
            "what the SAE computes with it is not known here."
        )
    return config


def load(form: Format, path: Path, device: str | torch.device) -> SAE[Any]:
    """The SAE at a path in float32, as an SAE of SAELens."""
    from sae_lens import SAE

    described, raw = _described(form, path, "cpu")
    weights = form.convert(raw, described["architecture"])
    with quiet():
        # On the meta device, so that the weights that are replaced at once draw nothing from the global generator.
        sae = SAE.from_dict({"dtype": "float32", **described, "device": "meta"})
    sae.load_state_dict({name: _float(value) for name, value in weights.items()}, assign=True)
    return ready(sae.to(device=torch.device(device)))


def _float(weight: Tensor) -> Tensor:
    return weight.to(torch.float32).contiguous()


def _described(form: Format, path: Path, device: Device) -> tuple[dict[str, Any], Raw]:
    settings: Mapping[str, Any] = (
        {} if form.settings is None else json_object(path / form.settings, "An SAE", "Copy or save it again.")
    )
    raw = read(form.weights_file(path), device)
    for group in form.needs:
        if not any(name in raw for name in group):
            raise RegistryError(
                f"'{form.weights_file(path)}' has no tensor '{group[0]}', which the format {form.name} needs; it has "
                f"{', '.join(sorted(raw))}."
            )
    return form.describe(path, settings, raw), raw
