"""What an SAE's `cfg.json` says, old formats included, read without loading SAELens (its import takes seconds).

SAELens 6 keeps what an SAE computes on top and where it came from under `metadata`; before 6.0 both lay side by side,
`hook_name` was also called `hook_point`, and a TopK SAE was a standard one with `activation_fn_str: topk`. The
translations are those of `sae_lens.loading.pretrained_sae_loaders.handle_pre_6_0_config`, which the tests compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import RegistryError, unknown
from .processing import Processing, from_kwargs

ARCHITECTURES = ("standard", "gated", "topk", "jumprelu")
"""Architectures of finished SAEs; BatchTopK and its relatives are saved as `jumprelu`."""

_RENAMED = {"hook_point": "hook_name", "hook_point_head_index": "hook_head_index", "activation_fn_str": "activation_fn"}
_TYPES = {
    "hook_name": str,
    "model_name": str,
    "dtype": str,
    "training_architecture": str,
    "reshape_activations": str,
    "prepend_bos": bool,
    "context_size": int,
    "k": int,
    "activation_fn_kwargs": dict,
    "training_architecture_details": dict,
    "model_from_pretrained_kwargs": dict,
}
_KINDS = {str: "a text", bool: "true or false", int: "a whole number", dict: "an object"}
_NORMALISATIONS = ("none", "layer_norm", "constant_norm_rescale")


@dataclass(frozen=True)
class SaeConfig:
    """One SAE's conventions."""

    architecture: str
    d_in: int
    d_sae: int
    dtype: str
    apply_b_dec_to_input: bool
    normalize_activations: str
    reshape_activations: str
    k: int | None
    """Active latents a token of a `topk` SAE."""
    rescale_acts_by_decoder_norm: bool
    """Whether a `topk` SAE ranks its latents by their size times their decoder's norm."""
    hook_name: str | None
    prepend_bos: bool | None
    context_size: int | None
    model_name: str | None
    processing: Processing
    """What was done to the weights of its model."""
    trained_as: str
    """Architecture in training: `batchtopk` for many that are saved as `jumprelu`."""
    trained_k: int | None

    def conventions(self) -> dict[str, Any]:
        """What decides, beside the weights and what was done to its model, what the SAE computes."""
        return {
            "dtype": self.dtype,
            "apply_b_dec_to_input": self.apply_b_dec_to_input,
            "normalize_activations": self.normalize_activations,
            "reshape_activations": self.reshape_activations,
            "k": self.k,
            "rescale_acts_by_decoder_norm": self.rescale_acts_by_decoder_norm,
        }


def parse_config(raw: Mapping[str, Any], origin: str, folded: bool = False) -> SaeConfig:
    """The conventions in a `cfg.json` of any SAELens version.

    Args:
        origin: what the messages call it.
        folded: whether whoever loads the weights folds `expected_average_only_in` into them.

    Raises:
        RegistryError: keys are missing or have the wrong type, or the SAE is none that can be spliced here.
    """
    merged = {_RENAMED.get(key, key): value for key, value in raw.items() if key != "metadata"}
    # What SAELens writes is under `metadata`; a key on top wins only where metadata does not have it.
    merged |= {key: value for key, value in (raw.get("metadata") or {}).items() if value is not None}
    _check_types(merged, origin)
    architecture = _architecture(merged, origin)
    details = merged.get("training_architecture_details") or {}
    k = merged.get("k", (merged.get("activation_fn_kwargs") or {}).get("k"))
    hook_name = merged.get("hook_name")
    all_heads = "hook_z" in (hook_name or "")
    config = SaeConfig(
        architecture=architecture,
        d_in=_count(merged, "d_in", origin),
        d_sae=_count(merged, "d_sae", origin),
        dtype=str(merged.get("dtype", "float32")).removeprefix("torch."),
        apply_b_dec_to_input=bool(merged.get("apply_b_dec_to_input", True)),
        normalize_activations=_normalisation(merged, origin, folded),
        reshape_activations=merged.get("reshape_activations") or ("hook_z" if all_heads else "none"),
        k=k if architecture == "topk" else None,
        rescale_acts_by_decoder_norm=architecture == "topk" and bool(merged.get("rescale_acts_by_decoder_norm", False)),
        hook_name=hook_name,
        # Before 6.0, when there was no metadata, what was not said was yes.
        prepend_bos=merged.get("prepend_bos", None if "metadata" in raw else True),
        context_size=merged.get("context_size"),
        model_name=merged.get("model_name"),
        processing=from_kwargs(merged.get("model_from_pretrained_kwargs") or {}),
        trained_as=merged.get("training_architecture") or architecture,
        trained_k=k if architecture == "topk" else details.get("k"),
    )
    _refuse_other_places(merged, origin)
    return config


def _check_types(merged: Mapping[str, Any], origin: str) -> None:
    for key, kind in _TYPES.items():
        value = merged.get(key)
        if value is not None and type(value) is not kind:
            raise RegistryError(f"{origin}: '{key}' is {value!r}; {_KINDS[kind]} is needed.")


def _count(merged: Mapping[str, Any], key: str, origin: str) -> int:
    value = merged.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        got = "is missing" if value is None else f"is {value!r}"
        raise RegistryError(
            f"{origin} is no SAE of SAELens: '{key}' {got}, a positive whole number is needed. "
            "Save the SAE with `sae.save_model(folder)`."
        )
    return value


def _architecture(merged: Mapping[str, Any], origin: str) -> str:
    architecture = merged.get("architecture", "standard")
    if merged.get("activation_fn") == "topk":
        architecture = "topk"
    if "transcoder" in str(architecture):
        raise RegistryError(
            f"{origin} is a {architecture}: it reads one place of the model and predicts another, so there is nothing "
            f"to put its output back into. SAEs of one site are supported: {', '.join(ARCHITECTURES)}."
        )
    if architecture not in ARCHITECTURES:
        raise RegistryError(f"{origin}: {unknown('SAE architecture', str(architecture), ARCHITECTURES)}")
    if architecture == "topk" and not isinstance(merged.get("k", _old_k(merged)), int):
        raise RegistryError(f"{origin} is a topk SAE without a whole number 'k'.")
    return architecture


def _old_k(merged: Mapping[str, Any]) -> object:
    return (merged.get("activation_fn_kwargs") or {}).get("k")


def _normalisation(merged: Mapping[str, Any], origin: str, folded: bool) -> str:
    """How the SAE normalises its inputs by itself; before 3.0 this was a boolean."""
    name = merged.get("normalize_activations") or "none"
    if name is True:
        name = "expected_average_only_in"
    if name == "expected_average_only_in" and folded:
        return "none"
    if name in ("expected_average_only_in", "covariance_whitening"):
        raise RegistryError(
            f"{origin} was trained on activations that were scaled beforehand (normalize_activations: {name}), and "
            "its file does not say by how much. Fold the scaling into the weights before saving: "
            "`sae.fold_activation_norm_scaling_factor(factor)` or `sae.fold_activation_whitening(...)`. Where the "
            "factor is known, `norm_scaling_factor: FACTOR` in the suite does the first."
        )
    if name not in _NORMALISATIONS:
        raise RegistryError(f"{origin}: {unknown('normalize_activations', str(name), _NORMALISATIONS)}")
    return str(name)


def _refuse_other_places(merged: Mapping[str, Any], origin: str) -> None:
    """SAEs of one attention head, or with an output elsewhere, are no SAEs of a site."""
    head = merged.get("hook_head_index")
    if head is not None:
        raise RegistryError(f"{origin} reads attention head {head} alone; SAEs of all heads together are supported.")
    out = merged.get("hook_name_out")
    if out is not None and out != merged.get("hook_name"):
        raise RegistryError(
            f"{origin} reads '{merged.get('hook_name')}' and predicts '{out}': a transcoder, which cannot be spliced."
        )
