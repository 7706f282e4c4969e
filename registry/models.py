"""Models: a Hugging Face id with its revision, or a local folder; what identifies one, and how it is loaded.

Only safetensors weights are read. A checkpoint that lacks a weight is refused: transformers would fill it with random
numbers and go on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from . import hub, microworld
from .errors import RegistryError, unknown
from .facts import Facts, check_facts, facts_of
from .families import family_of
from .files import fingerprint
from .foreign import json_object, read_by_library
from .mistakes import explain

_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
_LARGEST_SIZE = 2**24
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
_TOKENIZER_FILES = ("tokenizer*", "vocab.*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.spm")

Dtype = Literal["float32", "bfloat16", "float16"]


class ModelDefinition(BaseModel):
    """A model as a suite or a card writes it: exactly one of `path` and `hub`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    path: str | None = None
    """Local folder in the Hugging Face layout, relative to the suite's file."""
    hub: str | None = None
    """Id on the hub."""
    revision: str = "main"
    dtype: Dtype = "float32"
    trust_remote_code: bool = False
    facts: Facts | None = None
    """What its `config.json` on the hub says, to plan with where the hub cannot be reached."""
    summary: str = ""
    license: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> ModelDefinition:
        if (self.path is None) == (self.hub is None):
            raise ValueError("give exactly one of 'path' (a local folder) and 'hub' (an id)")
        return self


@dataclass(frozen=True)
class Model:
    """A model that has been found: what is needed to plan with it and to load it."""

    name: str
    location: str
    """Folder or hub id, as transformers takes it."""
    revision: str | None
    dtype: Dtype
    trust_remote_code: bool
    config: PretrainedConfig
    identity: dict[str, Any]
    """What enters the cell id: nothing of where the model lies, all of what it is."""
    weights_bytes: int | None
    """Size of the weights' files; None where they are not on this machine."""


def cards() -> dict[str, ModelDefinition]:
    """The models that the registry knows, by name."""
    text = (resources.files(__name__.rpartition(".")[0]) / "models.yaml").read_text(encoding="utf-8")
    return {name: ModelDefinition(name=name, **card) for name, card in yaml.safe_load(text).items()}


def resolve(definition: str | Mapping[str, Any], folder: Path) -> Model:
    """The model that a suite names: a card's name, or a mapping with `name` and `path` or `hub`.

    Args:
        folder: what relative paths are relative to.

    Raises:
        RegistryError: no such card, folder or id, or something that is no supported causal language model.
    """
    if isinstance(definition, str):
        if definition == "microworld":
            return _from_folder(ModelDefinition(name=definition, path="."), microworld.MODEL_FOLDER)
        known = cards()
        if definition not in known:
            remedy = "A model of your own: {name: mine, path: FOLDER} or {name: mine, hub: ID}."
            raise unknown("model", definition, [*known, "microworld"], remedy)
        return _from_hub(known[definition])
    try:
        parsed = ModelDefinition(**definition)
    except ValidationError as error:
        raise RegistryError(explain(error, ModelDefinition, definition)) from None
    if parsed.path is not None:
        return _from_folder(parsed, (folder / parsed.path).resolve())
    return _from_hub(parsed)


def _from_folder(definition: ModelDefinition, folder: Path) -> Model:
    if not folder.is_dir():
        hint = " (that is a file: give the folder it lies in)" if folder.is_file() else ""
        raise RegistryError(f"Model '{definition.name}': there is no folder {folder}{hint}.")
    if not (folder / "config.json").is_file():
        raise RegistryError(f"Model '{definition.name}': {folder} holds no config.json; it is no Hugging Face model.")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise RegistryError(
            f"Model '{definition.name}': {folder} holds no *.safetensors. Only safetensors weights are read; "
            "convert others with model.save_pretrained(FOLDER)."
        )
    tokenizer = sorted(part for name in _TOKENIZER_FILES for part in folder.glob(name))
    if not any(part.name in _VOCABULARIES for part in tokenizer):
        raise RegistryError(
            f"Model '{definition.name}': {folder} holds no tokenizer ({', '.join(_VOCABULARIES)}). Save the model's "
            "own with tokenizer.save_pretrained(FOLDER)."
        )
    check_weights(f"Model '{definition.name}'", folder, weights)
    config = _config(definition, str(folder))
    identity = {
        "weights": fingerprint(weights),
        "tokenizer": fingerprint(tokenizer),
        "config": config_hash(folder / "config.json"),
        "dtype": definition.dtype,
    }
    size = sum(part.stat().st_size for part in weights)
    return Model(
        definition.name, str(folder), None, definition.dtype, definition.trust_remote_code, config, identity, size
    )


def check_weights(whose: str, folder: Path, weights: Sequence[Path]) -> None:
    """Refuse files that are cut off or missing, by their headers alone.

    Raises:
        RegistryError: a file that is not whole, or one that the index names and that is not there.
    """
    for file in weights:
        try:
            with safe_open(file, framework="numpy") as opened:
                opened.keys()
        except (SafetensorError, OSError) as error:
            raise RegistryError(f"{whose}: {file} is no whole safetensors file: {error}.") from error
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        parts = json_object(index, whose).get("weight_map")
        if not isinstance(parts, dict) or not all(isinstance(part, str) for part in parts.values()):
            raise RegistryError(f"{whose}: {index} has no 'weight_map' of weights and files.")
        named = {Path(part).name for part in parts.values()}
        if absent := sorted(named - {file.name for file in weights}):
            raise RegistryError(f"{whose}: {folder} lacks {', '.join(absent)}, which its index names.")


def _from_hub(definition: ModelDefinition) -> Model:
    """A model of the hub, whose files are not looked at: its id and its commit stand for its weights."""
    place = str(definition.hub)
    with hub.asking():
        config = _config(definition, place)
    pinned = definition.revision if hub.is_commit(definition.revision) else None
    commit = pinned or getattr(config, "_commit_hash", None) or definition.revision
    identity = {"hub": place, "revision": commit, "dtype": definition.dtype}
    return Model(definition.name, place, commit, definition.dtype, definition.trust_remote_code, config, identity, None)


def _config(definition: ModelDefinition, location: str) -> PretrainedConfig:
    revision = definition.revision if definition.hub else None
    with read_by_library(f"Model '{definition.name}': no configuration from {location}"):
        try:
            config = AutoConfig.from_pretrained(
                location, revision=revision, trust_remote_code=definition.trust_remote_code
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            if definition.facts is not None and hub.is_away(error):
                return definition.facts.config()
            raise
    family_of(config)
    _check_sizes(definition.name, config, location)
    if definition.facts is not None:
        check_facts(definition.name, definition.facts, facts_of(config))
    return config


def _check_sizes(name: str, config: PretrainedConfig, location: str) -> None:
    for key in _SIZES:
        size = getattr(config, key, None)
        if type(size) is not int or not 0 < size < _LARGEST_SIZE:
            raise RegistryError(
                f"Model '{name}': the configuration of {location} makes '{key}' {size!r}; a whole number from 1 to "
                f"{_LARGEST_SIZE - 1:,} is needed."
            )


@cache
def config_hash(path: Path) -> str:
    """Hash of what a configuration says about the model, whatever wrote it and from where."""
    content = json_object(path, "A model")
    for key in ("transformers_version", "_name_or_path", "dtype", "torch_dtype"):
        content.pop(key, None)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def load(model: Model, device: str = "cpu") -> PreTrainedModel:
    """The model with its weights, in evaluation mode, without gradients.

    Raises:
        RegistryError: weights that are missing, unreadable or of another shape than the configuration says, or another
            configuration than the one that it was planned with.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with read_by_library(f"Model '{model.name}' does not load from {model.location}"):
        loaded, report = AutoModelForCausalLM.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues]
            model.location,
            revision=model.revision,
            dtype=getattr(torch, model.dtype),
            trust_remote_code=model.trust_remote_code,
            use_safetensors=True,
            output_loading_info=True,
        )
    check_facts(model.name, facts_of(model.config), facts_of(loaded.config))
    absent = sorted({*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])})
    if absent:
        raise RegistryError(
            f"Model '{model.name}': the checkpoint lacks {len(absent)} weights (or has them in another shape), "
            f"for example {', '.join(absent[:3])}. It is incomplete or belongs to another configuration."
        )
    return loaded.to(device).eval().requires_grad_(False)


def load_tokenizer(model: Model) -> PreTrainedTokenizerBase:
    """The model's tokenizer.

    Raises:
        RegistryError: the model's folder or repository holds none that loads.
    """
    from transformers import AutoTokenizer

    with read_by_library(f"Model '{model.name}': no tokenizer from {model.location}"):
        tokenizer = AutoTokenizer.from_pretrained(
            model.location, revision=model.revision, trust_remote_code=model.trust_remote_code
        )
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest < 0 or largest >= model.config.vocab_size:
        raise RegistryError(
            f"Model '{model.name}': its tokenizer has ids up to {largest}, the model {model.config.vocab_size} tokens. "
            "They do not belong together."
        )
    return tokenizer
