"""SAEs on disk in SAELens' format: `cfg.json` and `sae_weights.safetensors`.

SAE objects of SAELens hold lambdas and cannot be pickled, so that between processes every SAE passes through a folder.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from ..errors import RegistryError
from .config import SaeConfig, parse_config

if TYPE_CHECKING:
    from sae_lens import SAE

CONFIG_FILE = "cfg.json"
WEIGHTS_FILE = "sae_weights.safetensors"
_REMEDY = "A folder as `sae.save_model(folder)` of SAELens writes it is needed: cfg.json and sae_weights.safetensors."


def read_config(folder: Path) -> SaeConfig:
    """The conventions of the SAE in a folder; its weights are checked against them, not loaded.

    Raises:
        RegistryError: no such folder, a file is missing, truncated or foreign, or the two do not fit.
    """
    config = parse_config(_read_json(folder), f"The SAE in '{folder}'")
    _check_weights(folder, config)
    return config


def save(sae: SAE[Any], folder: Path) -> None:
    """Write an SAE in SAELens' format; `SAE.load_from_disk` reads it, with or without this package."""
    sae.save_model(folder)


def load_folder(folder: Path, device: str | torch.device = "cpu") -> SAE[Any]:
    """The SAE of a folder in float32, ready to be measured.

    Raises:
        RegistryError: as `read_config`.
    """
    read_config(folder)
    from sae_lens import SAE

    with quiet():
        return ready(SAE.load_from_disk(folder, device=str(device), dtype="float32"))


def ready(sae: SAE[Any]) -> SAE[Any]:
    """The same SAE in evaluation mode, without gradients, reading `attn_z` as `[batch, position, heads * d_head]`."""
    sae.turn_off_forward_pass_hook_z_reshaping()
    sae.eval()
    sae.requires_grad_(False)
    return sae


@torch.no_grad()
def clone(sae: SAE[Any]) -> SAE[Any]:
    """A copy that shares no memory with the SAE."""
    # Built on the meta device, so that the weights that are replaced at once draw nothing from the global generator.
    described = {**sae.cfg.to_dict(), "device": "meta"}
    with quiet():
        copy = type(sae).from_dict(described)
    copy.load_state_dict({key: value.clone() for key, value in sae.state_dict().items()}, assign=True)
    return ready(copy.to(device=sae.device))


@contextmanager
def quiet() -> Iterator[None]:
    """Without SAELens' advice on how to load a TransformerLens model, which this package does not use."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*This SAE has non-empty model_from_pretrained_kwargs")
        yield


def _read_json(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise RegistryError(f"There is no folder '{folder}'. {_REMEDY}")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            found = ", ".join(sorted(entry.name for entry in folder.iterdir())) or "nothing"
            raise RegistryError(f"'{folder}' has no {name}; it holds {found}. {_REMEDY}")
    try:
        raw = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RegistryError(f"'{folder / CONFIG_FILE}' is no complete JSON: {error}. {_REMEDY}") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("metadata") or {}, dict):
        raise RegistryError(f"'{folder / CONFIG_FILE}' is no description of an SAE: a JSON object is needed. {_REMEDY}")
    return raw


def _shapes(config: SaeConfig) -> dict[str, list[int]]:
    """The tensors that an SAE of that architecture must have."""
    d_in, d_sae = config.d_in, config.d_sae
    biases = {
        "standard": ["b_enc"],
        "topk": ["b_enc"],
        "jumprelu": ["b_enc", "threshold"],
        "gated": ["b_gate", "b_mag", "r_mag"],
    }
    shapes = {"W_enc": [d_in, d_sae], "W_dec": [d_sae, d_in], "b_dec": [d_in]}
    return shapes | {name: [d_sae] for name in biases[config.architecture]}


def _check_weights(folder: Path, config: SaeConfig) -> None:
    path = folder / WEIGHTS_FILE
    try:
        with safe_open(path, framework="pt") as file:
            found = {key: list(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise RegistryError(f"'{path}' cannot be read: {error}. Copy or save the SAE again.") from error
    for name, shape in _shapes(config).items():
        if name not in found:
            raise RegistryError(
                f"'{path}' has no tensor '{name}', which a {config.architecture} SAE needs; it has "
                f"{', '.join(sorted(found))}. {_REMEDY}"
            )
        if found[name] != shape:
            raise RegistryError(f"'{path}': '{name}' has shape {found[name]}, but cfg.json makes it {shape}. {_REMEDY}")
