"""Pretrained SAEs: a folder in SAELens' format, or a release of SAELens, frozen as they are.

Normalisation of inputs is what SAELens does at run time: `layer_norm` and `constant_norm_rescale` are part of encoding
and decoding. `expected_average_only_in` is not: the SAE was trained on activations times one factor, which SAELens
folds into the weights of those releases whose factor it lists. Where it lists none it only warns and the latents are
wrong, so such an SAE is refused here; and so is a folder that was saved before folding.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import model_validator

from ..errors import Impossible, RegistryError, unknown
from ..files import content_hash
from .config import SaeConfig, parse_config
from .entry import Params, SaeEntry
from .folder import WEIGHTS_FILE, load_folder, quiet, read_config, ready
from .forms import Form, Surroundings

if TYPE_CHECKING:
    from sae_lens import SAE


class PretrainedForm(Form):
    """`{name, source: pretrained, path}` or `{name, source: pretrained, release, id}`."""

    source: Literal["pretrained"]
    path: str | None = None
    release: str | None = None
    id: str | None = None
    site: str | None = None
    """Overrides the hook name of cfg.json, or stands in for it."""

    @model_validator(mode="after")
    def _one_place(self) -> PretrainedForm:
        if (self.path is None) == (self.release is None) or (self.release is None) != (self.id is None):
            raise ValueError("a pretrained SAE needs either 'path' (a folder) or 'release' and 'id' of SAELens")
        return self


class PretrainedParams(Params):
    """Where the weights are and how they are read."""

    path: Path | None
    release: str | None
    id: str | None
    weights_hash: str | None
    """Of the weights file's content; None for a release, which `release` and `id` name."""
    trained_on: str | None
    """Name of the model that it was trained on, where its cfg.json says it."""
    trained_as: str
    """Architecture in training, for SAEs that are trained `like` this one."""
    k: int | None
    """Active latents a token in training, where the architecture has it."""
    conventions: dict[str, Any]

    def identity(self) -> dict[str, Any]:
        """Weights and conventions; the folder may be moved and renamed."""
        place = {"release": self.release, "id": self.id} if self.path is None else {"weights": self.weights_hash}
        return {**place, **self.conventions}


def entry(form: PretrainedForm, around: Surroundings) -> SaeEntry:
    """The entry of a folder or a release; no weights are loaded.

    Raises:
        RegistryError: the folder or release is missing, broken or foreign, or does not fit the model.
    """
    if form.path is None:
        path, config, weights_hash = None, _release_config(str(form.release), str(form.id)), None
    else:
        path = (around.folder / form.path).resolve()
        config, weights_hash = read_config(path), content_hash(path / WEIGHTS_FILE)
    hook_name = form.site or config.hook_name
    if hook_name is None:
        raise RegistryError(
            f"SAE '{form.name}': its cfg.json names no site (hook_name). "
            f"Say where it reads, for example `site: blocks.{around.config.num_hidden_layers // 2}.hook_resid_post`."
        )
    site = around.site(hook_name, form.name)
    around.check_width(form.name, site, config.d_in)
    return SaeEntry(
        name=form.name,
        source="pretrained",
        site=site,
        d_in=config.d_in,
        d_sae=config.d_sae,
        architecture=config.architecture,
        prepend_bos=around.prepend_bos_default if config.prepend_bos is None else config.prepend_bos,
        context_size=config.context_size,
        on=None,
        base=None,
        params=PretrainedParams(
            path=path,
            release=form.release,
            id=form.id,
            weights_hash=weights_hash,
            trained_on=config.model_name,
            trained_as=config.trained_as,
            k=config.trained_k,
            conventions=config.conventions(),
        ),
    )


def load(entry: SaeEntry, device: str | torch.device = "cpu") -> SAE[Any]:
    """The SAE in float32, in evaluation mode, without gradients.

    Raises:
        RegistryError: it is no longer what the entry was made from.
        Impossible: a release cannot be downloaded here.
    """
    params = entry.params
    if not isinstance(params, PretrainedParams):
        raise TypeError(f"'{entry.name}' is {entry.source}, not pretrained")
    if params.path is None:
        return _load_release(entry, params, device)
    if content_hash(params.path / WEIGHTS_FILE) != params.weights_hash:
        raise RegistryError(f"The weights in '{params.path}' changed while they were in use. Start again.")
    sae = load_folder(params.path, device)
    return _fold_centring(sae) if params.conventions["centred"] else sae


def _release_config(release: str, sae_id: str) -> SaeConfig:
    """What SAELens says of one of its releases: its directory, and the SAE's cfg.json from the hub or its cache."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from sae_lens.loading.pretrained_sae_loaders import load_sae_config_from_huggingface
    from sae_lens.loading.pretrained_saes_directory import get_norm_scaling_factor, get_pretrained_saes_directory

    directory = get_pretrained_saes_directory()
    if release not in directory:
        raise _shortened("SAELens release", release, directory)
    if sae_id not in directory[release].saes_map:
        raise _shortened(f"SAE of release '{release}'", sae_id, directory[release].saes_map)
    try:
        raw = load_sae_config_from_huggingface(release, sae_id)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise RegistryError(
            f"The description of SAE '{sae_id}' of release '{release}' cannot be downloaded: {str(error).rstrip('.')}. "
            "With network it is fetched once; without, save the SAE into a folder elsewhere and name it by `path`."
        ) from error
    folded = get_norm_scaling_factor(release, sae_id) is not None
    origin = f"SAE '{sae_id}' of release '{release}'"
    return parse_config({"model_name": directory[release].model, **raw}, origin, folded)


def _shortened(kind: str, name: str, known: dict[str, Any]) -> RegistryError:
    """`unknown` for lists of hundreds of names: the closest ones only."""
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.3)
    return unknown(kind, name, close or list(known)[:5], f"These are the closest of {len(known)}.")


def _load_release(entry: SaeEntry, params: PretrainedParams, device: str | torch.device) -> SAE[Any]:
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from sae_lens import SAE

    try:
        with quiet():
            sae = SAE.from_pretrained(str(params.release), str(params.id), device=str(device), dtype="float32")
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise Impossible(f"SAE '{entry.name}' cannot be downloaded: {error}") from error
    found = (sae.cfg.architecture(), sae.cfg.d_in, sae.cfg.d_sae)
    expected = (entry.architecture, entry.d_in, entry.d_sae)
    if found != expected:
        raise RegistryError(f"SAE '{entry.name}' is {found} after loading, but its description says {expected}.")
    return _fold_centring(ready(sae)) if params.conventions["centred"] else ready(sae)


@torch.no_grad()
def _fold_centring(sae: SAE[Any]) -> SAE[Any]:
    """Let an SAE that was trained on centred activations read activations as the model writes them.

    TransformerLens' `center_writing_weights` takes the mean over channels off whatever is written to the residual
    stream, which LayerNorm never sees. With C = I - 11^T / d_in the SAE computes (C x - b_dec) W_enc + b_enc, which is
    (x - b_dec) C W_enc + b_enc - mean(b_dec) 1^T W_enc: latents are those of its training to rounding. What it
    writes back is centred, as in its training; the model's output does not depend on that.
    """
    sums = sae.W_enc.sum(dim=0)
    if sae.cfg.normalize_activations != "none":
        return sae  # layer_norm takes the mean off by itself
    bias = getattr(sae, "b_enc", None)
    if not isinstance(bias, torch.Tensor):
        raise RegistryError(f"A {sae.cfg.architecture()} SAE of centred activations is not supported.")
    if sae.cfg.apply_b_dec_to_input:
        bias -= sae.b_dec.mean() * sums
    sae.W_enc.sub_(sums / sae.cfg.d_in)
    return sae
