"""What `releases.yaml` states of releases, in the words of cfg.json, and whether an SAE is as it is stated."""

from __future__ import annotations

import re
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ..errors import RegistryError
from .config import SaeConfig

_FREE = ("model_name", "trained_as", "trained_k")
"""Nothing that is computed follows from these."""


def stated(release: str, sae_id: str) -> dict[str, Any] | None:
    """What cfg.json of an SAE holds, as far as it is stated; None where nothing is."""
    of_release = _releases().get(release)
    if of_release is None:
        return None
    layer = re.search(r"\d+", sae_id)
    number = "" if layer is None else layer[0]
    told = {key: value for key, value in of_release.items() if key != "layers"}
    told |= of_release.get("layers", {}).get(int(number or -1), {})
    return told | {"hook_name": told["hook_name"].replace("{layer}", number)}


def check_stated(origin: str, said: SaeConfig, found: SaeConfig) -> None:
    """Refuse an SAE that is not what its suite was planned with elsewhere.

    Args:
        said: of what is stated.
        found: of its own cfg.json.

    Raises:
        RegistryError: with everything that differs.
    """
    differing = [
        f"{field.name} {getattr(said, field.name)} (it is {getattr(found, field.name)})"
        for field in fields(SaeConfig)
        if field.name not in _FREE and getattr(said, field.name) not in (None, getattr(found, field.name))
    ]
    if differing:
        raise RegistryError(
            f"{origin} is stated to have {', '.join(differing)}: its cfg.json on the hub says otherwise. Correct "
            "registry/saes/releases.yaml; records of suites that were planned with it have other ids."
        )


@cache
def _releases() -> dict[str, dict[str, Any]]:
    return yaml.safe_load((Path(__file__).parent / "releases.yaml").read_text(encoding="utf-8"))
