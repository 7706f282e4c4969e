"""Pretrained SAEs, frozen as they are: a folder of SAELens or of another library, or a release of SAELens.

What an SAE takes for granted of its inputs, and what becomes of it here:

- Layer norm and constant norm are part of encoding and decoding (`inputs.py`). `expected_average_only_in` is one factor
  on all inputs, which is folded into the weights: SAELens lists it for some releases, a suite can give it, and without
  it the SAE is refused, because latents would be wrong.
- A model whose weights TransformerLens has processed: `processing.py` says what that changes. The mean over channels
  is taken off and put back token by token; the values that `attn_z` has lost are folded into biases, exactly.
- BOS, contexts, widths, heads side by side, `apply_b_dec_to_input`: in its description, or the suite's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import RegistryError
from ..families import family_of
from ..files import content_hash
from ..sites import Site
from .config import SaeConfig
from .entry import Params, SaeEntry
from .folder import WEIGHTS_FILE, load_folder, read_config, ready
from .formats import shelf
from .forms import Form, Positive, Surroundings
from .processing import PROCESSED, UNPROCESSED, Processing, values_of
from .releases import load_release, processing_of, release_config

if TYPE_CHECKING:
    from sae_lens import SAE


class PretrainedForm(Form):
    """`{name, source: pretrained, path, format}` or `{name, source: pretrained, release, id}`."""

    source: Literal["pretrained"]
    path: str | None = None
    format: str | None = None
    """Of what lies at `path`; None: whatever its files are called."""
    release: str | None = None
    id: str | None = None
    site: str | None = None
    """Overrides the hook name of its description, or stands in for it."""
    prepend_bos: bool | None = None
    """Overrides whether it was trained on texts that start with BOS."""
    processed: bool | None = None
    """Whether it was trained on weights as `HookedTransformer.from_pretrained` of TransformerLens processes them (true)
    or on weights as they were published (false); None: what its description says."""
    norm_scaling_factor: Positive | None = None
    """What its inputs were multiplied by in training (`expected_average_only_in`), where nothing says it."""

    @model_validator(mode="after")
    def _one_place(self) -> PretrainedForm:
        if (self.path is None) == (self.release is None) or (self.release is None) != (self.id is None):
            raise ValueError("a pretrained SAE needs either 'path' (a folder) or 'release' and 'id' of SAELens")
        if self.format is not None and self.path is None:
            raise ValueError("'format' says what lies at a 'path'; SAELens knows the format of its releases")
        return self


class PretrainedParams(Params):
    """Where the weights are and how they are read."""

    path: Path | None
    format: str | None
    """Of another library; None for SAELens' own."""
    release: str | None
    id: str | None
    weights_hash: str | None
    """Of the weights file's content; None for a release, which `release` and `id` name."""
    trained_on: str | None
    """Name of the model that it was trained on, where its description says it."""
    trained_as: str
    """Architecture in training, for SAEs that are trained `like` this one."""
    k: int | None
    """Active latents a token in training, where the architecture has it."""
    centred: bool
    """Whether the mean over channels is taken off its inputs, and put back."""
    value_offset: Literal["bias", "bias and norm"] | None
    """What its inputs have lost of the values of their heads."""
    norm_scaling_factor: float | None
    conventions: dict[str, Any]

    def identity(self) -> dict[str, Any]:
        """Weights and conventions; the folder may be moved and renamed."""
        place = {"release": self.release, "id": self.id} if self.path is None else {"weights": self.weights_hash}
        read = {"value_offset": self.value_offset, "norm_scaling_factor": self.norm_scaling_factor}
        return {
            **place,
            **self.conventions,
            "centred": self.centred,
            **{key: value for key, value in read.items() if value is not None},
        }


def entry(form: PretrainedForm, around: Surroundings) -> SaeEntry:
    """The entry of a folder or a release; no weights are loaded.

    Raises:
        RegistryError: the folder or release is missing, broken or foreign, or does not fit the model.
    """
    place, config = _found(form, around.folder)
    site = _site(form, config, around)
    around.check_width(form.name, site, config.d_in)
    processing = _processing(form, config)
    family = family_of(around.config)
    try:
        value_offset = processing.value_offset(site, family)
    except RegistryError as error:
        raise RegistryError(f"SAE '{form.name}': {error}") from error
    if form.norm_scaling_factor is not None and config.normalize_activations != "none":
        raise RegistryError(
            f"SAE '{form.name}' normalises its inputs by itself ({config.normalize_activations}): leave "
            "`norm_scaling_factor` out."
        )
    if value_offset is not None and config.normalize_activations != "none":
        raise RegistryError(
            f"SAE '{form.name}' normalises ({config.normalize_activations}) activations that TransformerLens had taken "
            "the value biases off: no weights can make up for that. Say `processed: false` if it did not."
        )
    said = config.prepend_bos if form.prepend_bos is None else form.prepend_bos
    return SaeEntry(
        name=form.name,
        source="pretrained",
        site=site,
        d_in=config.d_in,
        d_sae=config.d_sae,
        architecture=config.architecture,
        prepend_bos=around.prepend_bos_default if said is None else said,
        context_size=config.context_size,
        on=None,
        base=None,
        params=PretrainedParams(
            **place,
            trained_on=config.model_name,
            trained_as=config.trained_as,
            k=config.trained_k,
            centred=processing.centres(site, family),
            value_offset=value_offset,
            norm_scaling_factor=form.norm_scaling_factor,
            conventions=config.conventions(),
        ),
    )


def value_offset(entry: SaeEntry, model: PreTrainedModel) -> Float[Tensor, " d_in"] | None:
    """What `load` has to know of the dense model's weights; None for nearly all SAEs."""
    params = entry.params
    if not isinstance(params, PretrainedParams) or params.value_offset is None:
        return None
    return values_of(model, entry.site, params.value_offset)


def load(entry: SaeEntry, device: str | torch.device = "cpu", offset: Float[Tensor, " d_in"] | None = None) -> SAE[Any]:
    """The SAE in float32, in evaluation mode, without gradients.

    Args:
        offset: what `value_offset` says of the dense model.

    Raises:
        RegistryError: it is no longer what the entry was made from.
        Impossible: a release cannot be downloaded here.
        TypeError: the caller left out an offset that is needed.
    """
    params = entry.params
    if not isinstance(params, PretrainedParams):
        raise TypeError(f"'{entry.name}' is {entry.source}, not pretrained")
    if params.value_offset is not None and offset is None:
        raise TypeError(f"'{entry.name}' needs the values of the dense model that it was trained without")
    sae = _loaded(entry, params, device)
    found = (sae.cfg.architecture(), sae.cfg.d_in, sae.cfg.d_sae)
    expected = (entry.architecture, entry.d_in, entry.d_sae)
    if found != expected:
        raise RegistryError(f"SAE '{entry.name}' is {found} after loading, but its description says {expected}.")
    if params.norm_scaling_factor is not None:
        sae.fold_activation_norm_scaling_factor(params.norm_scaling_factor)
    if offset is not None:
        _fold_offset(sae, offset.to(sae.b_dec))
    _note(sae, entry, params)
    return ready(sae)


def _found(form: PretrainedForm, folder: Path) -> tuple[dict[str, Any], SaeConfig]:
    """Where the SAE is, as fields of its parameters, and what is said of it."""
    factor = form.norm_scaling_factor
    place: dict[str, Any] = {"path": None, "format": None, "release": form.release, "id": form.id, "weights_hash": None}
    if form.path is None:
        config = release_config(str(form.release), str(form.id), factor)
    else:
        path = (folder / form.path).resolve()
        foreign = shelf.detect(path, form.format)
        config = read_config(path, factor is not None) if foreign is None else shelf.describe(foreign, path)
        weights = path / WEIGHTS_FILE if foreign is None else foreign.weights_file(path)
        name = None if foreign is None else foreign.name
        place |= {"path": path, "format": name, "weights_hash": content_hash(weights)}
    return place, config


def _site(form: PretrainedForm, config: SaeConfig, around: Surroundings) -> Site:
    name = form.site or config.hook_name
    if name is None:
        raise RegistryError(
            f"SAE '{form.name}': its description names no site (hook_name). "
            f"Say where it reads, for example `site: blocks.{around.config.num_hidden_layers // 2}.hook_resid_post`."
        )
    root = family_of(around.config).blocks.partition(".")[0]
    # sparsify names modules as seen from within the causal language model.
    return around.site(f"{root}.{name}" if name.startswith(("layers.", "h.")) else name, form.name)


def _processing(form: PretrainedForm, config: SaeConfig) -> Processing:
    if form.processed is not None:
        return PROCESSED if form.processed else UNPROCESSED
    return config.processing if form.release is None else processing_of(form.release, config)


def _loaded(entry: SaeEntry, params: PretrainedParams, device: str | torch.device) -> SAE[Any]:
    if params.path is None:
        return load_release(entry.name, str(params.release), str(params.id), str(device))
    foreign = None if params.format is None else shelf.FORMATS[params.format]
    weights = params.path / WEIGHTS_FILE if foreign is None else foreign.weights_file(params.path)
    if content_hash(weights) != params.weights_hash:
        raise RegistryError(f"The weights in '{params.path}' changed while they were in use. Start again.")
    if foreign is not None:
        return shelf.load(foreign, params.path, device)
    return load_folder(params.path, device, params.norm_scaling_factor is not None)


@torch.no_grad()
def _fold_offset(sae: SAE[Any], offset: Float[Tensor, " d_in"]) -> None:
    """Let an SAE of `x - offset` read `x` and give `x` back: exact, since both of its sides are affine."""
    sae.b_dec.add_(offset)
    if sae.cfg.apply_b_dec_to_input:
        return  # what b_dec has gained is taken off the input
    shift = offset @ sae.W_enc
    if sae.cfg.architecture() == "gated":
        sae.get_parameter("b_gate").sub_(shift)
        sae.get_parameter("b_mag").sub_(shift * sae.get_parameter("r_mag").exp())
    else:
        sae.get_parameter("b_enc").sub_(shift)


def _note(sae: SAE[Any], entry: SaeEntry, params: PretrainedParams) -> None:
    """Say in the SAE's metadata how it is read now, for whoever saves it and for what is made from it."""
    metadata = sae.cfg.metadata
    metadata.hook_name = metadata.hook_name or entry.site.name
    metadata.prepend_bos = entry.prepend_bos
    metadata.centred = params.centred
    # What SAELens asks of a model that this SAE is attached to: by now nothing but a centred stream.
    metadata.model_from_pretrained_kwargs = {"center_writing_weights": True} if params.centred else {}
