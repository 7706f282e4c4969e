"""Releases of SAELens: what its directory and an SAE's cfg.json say, and what they leave out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import hub
from ..errors import Impossible, RegistryError, unknown
from .config import SaeConfig, parse_config
from .folder import quiet, ready
from .processing import PROCESSED, Processing
from .stated import check_stated, stated

if TYPE_CHECKING:
    from sae_lens import SAE

_TRANSCODERS = ("gemma_2_transcoder", "mwhanna_transcoder", "mntss_clt_layer_transcoder")
_OTHERS = ("temporal",)
"""SAELens' loaders of what no splice can be made with, known before anything is downloaded."""

_PROCESSED_MODELS = {
    # `HookedTransformer.from_pretrained(...)` in ckkissane/attention-output-saes, train.py.
    "gpt2-small-hook-z-kk": PROCESSED,
    # `HookedTransformer.from_pretrained(...)` in ApolloResearch/e2e_sae, e2e_sae/loader.py.
    "gpt2-small-res_sce-ajt": PROCESSED,
    "gpt2-small-res_scefr-ajt": PROCESSED,
    "gpt2-small-res_scl-ajt": PROCESSED,
    "gpt2-small-res_sle-ajt": PROCESSED,
    "gpt2-small-res_slefr-ajt": PROCESSED,
    "gpt2-small-res_sll-ajt": PROCESSED,
}
"""Releases that were trained on processed weights without SAELens' saying so."""


def processing_of(release: str, config: SaeConfig) -> Processing:
    """What was done to the weights of the model that a release was trained on."""
    return _PROCESSED_MODELS.get(release, config.processing)


def release_config(release: str, sae_id: str, factor: float | None) -> SaeConfig:
    """What SAELens says of one of its releases: its directory, and the SAE's cfg.json from the hub or its cache.

    Where there is neither, what is stated of the release stands in for cfg.json; where there is, both must agree.

    Args:
        factor: the scaling of its inputs in training, where the user knows it.

    Raises:
        RegistryError: no such release, none that can be spliced (before anything is downloaded, where the directory
            says it), neither network nor anything stated, or something else stated.
    """
    from sae_lens.loading.pretrained_saes_directory import get_norm_scaling_factor, get_pretrained_saes_directory

    directory = get_pretrained_saes_directory()
    if release not in directory:
        raise _shortened("SAELens release", release, directory)
    found = directory[release]
    if sae_id not in found.saes_map:
        raise _shortened(f"SAE of release '{release}'", sae_id, found.saes_map)
    origin = f"SAE '{sae_id}' of release '{release}'"
    _refuse_unspliced(origin, found.conversion_func, found.saes_map[sae_id])
    listed = get_norm_scaling_factor(release, sae_id)
    if factor is not None and listed is not None:
        raise RegistryError(
            f"{origin} has its scaling factor in SAELens' list ({listed}): leave `norm_scaling_factor` out."
        )

    def parsed(raw: Mapping[str, Any]) -> SaeConfig:
        return parse_config({"model_name": found.model, **raw}, origin, factor is not None or listed is not None)

    told = stated(release, sae_id)
    expected = None if told is None else parsed({**told, **(found.config_overrides or {})})
    try:
        config = parsed(_described(origin, release, sae_id))
    except RegistryError as error:
        if expected is None or not hub.is_away(error):
            raise
        return expected
    if expected is not None:
        check_stated(origin, expected, config)
    return config


def _described(origin: str, release: str, sae_id: str) -> dict[str, Any]:
    """The SAE's cfg.json as SAELens reads it.

    Raises:
        RegistryError: it cannot be downloaded.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from sae_lens.loading.pretrained_sae_loaders import load_sae_config_from_huggingface

    try:
        with hub.asking():
            return load_sae_config_from_huggingface(release, sae_id)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise RegistryError(
            f"The description of {origin} cannot be downloaded: {str(error).rstrip('.')}. "
            "With network it is fetched once; without, save the SAE into a folder elsewhere and name it by `path`."
        ) from error


def load_release(name: str, release: str, sae_id: str, device: str) -> SAE[Any]:
    """An SAE of a release in float32.

    Raises:
        Impossible: it cannot be downloaded.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from sae_lens import SAE

    try:
        with quiet():
            return ready(SAE.from_pretrained(release, sae_id, device=device, dtype="float32"))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise Impossible(f"SAE '{name}' cannot be downloaded: {error}") from error


def _refuse_unspliced(origin: str, loader: str | None, place: str) -> None:
    if loader in _TRANSCODERS or (loader == "gemma_3" and ("transcoder" in place or "clt" in place)):
        raise RegistryError(
            f"{origin} is a transcoder: it reads one place of the model and predicts another, so there is nothing to "
            "put its output back into."
        )
    if loader in _OTHERS:
        raise RegistryError(f"{origin} is a {loader} SAE, whose latents of a token depend on the tokens before it.")


def _shortened(kind: str, name: str, known: dict[str, Any]) -> RegistryError:
    """`unknown` for lists of hundreds of names: the closest ones only."""
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.3)
    return unknown(kind, name, close or list(known)[:5], f"These are the closest of {len(known)}.")
