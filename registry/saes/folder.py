"""SAEs on disk in SAELens' format: `cfg.json` and `sae_weights.safetensors`.

SAE objects of SAELens hold lambdas and cannot be pickled, so that between processes every SAE passes through a folder.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import RegistryError
from ..foreign import json_object, read_by_library
from .arrays import read
from .config import SaeConfig, parse_config
from .inputs import centre

if TYPE_CHECKING:
    from sae_lens import SAE

CONFIG_FILE = "cfg.json"
WEIGHTS_FILE = "sae_weights.safetensors"
_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_REMEDY = "A folder as `sae.save_model(folder)` of SAELens writes it is needed: cfg.json and sae_weights.safetensors."


def read_config(folder: Path, folded: bool = False) -> SaeConfig:
    """The conventions of the SAE in a folder; its weights are checked against them, not loaded.

    Args:
        folded: whether whoever loads it folds `expected_average_only_in` into the weights.

    Raises:
        RegistryError: no such folder, a file is missing, truncated or foreign, or the two do not fit.
    """
    config = parse_config(_read_json(folder), f"The SAE in '{folder}'", folded)
    check_weights(folder / WEIGHTS_FILE, read(folder / WEIGHTS_FILE, "meta"), config)
    return config


def save(sae: SAE[Any], folder: Path) -> None:
    """Write an SAE in SAELens' format; `SAE.load_from_disk` reads it, with or without this package."""
    sae.save_model(folder)


def load_folder(folder: Path, device: str | torch.device = "cpu", folded: bool = False) -> SAE[Any]:
    """The SAE of a folder in float32, ready to be measured.

    Raises:
        RegistryError: as `read_config`.
    """
    read_config(folder, folded)
    from sae_lens import SAE

    with quiet(), read_by_library(f"The SAE in '{folder}' does not load"):
        return ready(SAE.load_from_disk(folder, device=str(device), dtype="float32"))


def ready(sae: SAE[Any]) -> SAE[Any]:
    """The same SAE in evaluation mode, without gradients, reading `attn_z` as `[batch, position, heads * d_head]`.

    Where its metadata say `centred`, it takes its inputs as the model writes them: see `inputs.py`.
    A TopK SAE finds its largest latents by groups: see `topk.py`.
    """
    from .topk import by_groups

    sae.turn_off_forward_pass_hook_z_reshaping()
    by_groups(sae)
    if sae.cfg.metadata.get("centred", False):
        centre(sae)
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
    """Without SAELens' advice on models of TransformerLens and on scaling factors: this package sees to both."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*This SAE has non-empty model_from_pretrained_kwargs")
        warnings.filterwarnings("ignore", message=r"norm_scaling_factor not found")
        yield


def _read_json(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise RegistryError(f"There is no folder '{folder}'. {_REMEDY}")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            found = ", ".join(sorted(entry.name for entry in folder.iterdir())) or "nothing"
            raise RegistryError(f"'{folder}' has no {name}; it holds {found}. {_REMEDY}")
    raw = json_object(folder / CONFIG_FILE, "An SAE", _REMEDY)
    if not isinstance(raw.get("metadata") or {}, dict):
        raise RegistryError(f"'{folder / CONFIG_FILE}' is no description of an SAE: a JSON object is needed. {_REMEDY}")
    return raw


def shapes(config: SaeConfig) -> dict[str, list[int]]:
    """The tensors that an SAE of that configuration must have."""
    d_in, d_sae = config.d_in, config.d_sae
    biases = {
        "standard": ["b_enc"],
        "topk": ["b_enc"],
        "jumprelu": ["b_enc", "threshold"],
        "gated": ["b_gate", "b_mag", "r_mag"],
    }
    always = {"W_enc": [d_in, d_sae], "W_dec": [d_sae, d_in], "b_dec": [d_in]}
    return always | {name: [d_sae] for name in biases[config.architecture]}


def check_weights(file: Path, found: Mapping[str, Tensor], config: SaeConfig) -> None:
    """Refuse weights that are not those of an SAE of that configuration; the meta device will do.

    Raises:
        RegistryError: a tensor is missing, or has another shape, or no floating-point numbers.
    """
    for name, shape in shapes(config).items():
        if name not in found:
            raise RegistryError(
                f"'{file}' has no tensor '{name}', which a {config.architecture} SAE needs; it has "
                f"{', '.join(sorted(found))}. {_REMEDY}"
            )
        has, dtype = list(found[name].shape), found[name].dtype
        if has != shape:
            raise RegistryError(f"'{file}': '{name}' has shape {has}, but its description makes it {shape}. {_REMEDY}")
        if dtype not in _DTYPES:
            raise RegistryError(
                f"'{file}': '{name}' is stored as {_short(dtype)}; SAEs are read from "
                f"{', '.join(_short(known) for known in _DTYPES)} and computed in float32."
            )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
