"""What the commands below `saetransfer sae` ask for, as a suite of one SAE that stands in no file.

So every key is checked where those of suites are, and an SAE has the identity that it would have in a suite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from ...registry import models
from ...registry.errors import RegistryError
from ...registry.saes.cards import CARDS
from ..errors import UsageError
from ..planning import suite, yaml_file
from ..planning.grid import DENSE, MICROWORLD
from ..planning.suite import Data, Definition, Place, SuiteFile
from .overrides import apply

_OPTIONS: dict[Place, str] = {
    ("models",): "MODEL",
    ("compressors",): "--compressor",
    ("data", "context"): "--context",
    ("data", "text"): "--text",
}
"""Where in a suite stands what an option of the command says."""
_OWN = {"name": "--out", "base": "--base", "like": "--like", "source": "another command"}
"""Keys of an SAE that the command says otherwise."""
_DATA = "data."


@dataclass(frozen=True)
class Read:
    """What an SAE is made on."""

    model: str
    compressor: str | None
    text: str | None
    context: int | None


@dataclass(frozen=True)
class Wanted:
    """One SAE, as a command asks for it."""

    source: Literal["trained", "finetuned", "pruned"]
    base: str | None
    """The SAE that it is made from or, where it is trained, like."""
    keys: Mapping[str, str | None]
    """Keys of the definition that are options of the command, in YAML; None where they were left out."""
    overrides: tuple[str, ...]
    """Other keys, `KEY=VALUE`; those that begin with `data.` belong to the suite."""
    read: Read


class CommandSuite(SuiteFile):
    """A suite made from the options of a command."""

    def mistake(self, place: Place, message: str) -> UsageError:
        """The error for something at that place of the suite, which names the option."""
        option = next((name for start, name in _OPTIONS.items() if place[: len(start)] == start), None)
        return UsageError(message if option is None else f"{option}: {message}")


def suite_of(wanted: Wanted, name: str) -> SuiteFile:
    """The suite that has the SAE, as its last one, on the state that it is made on, as its last one.

    Raises:
        UsageError: a key that the command says otherwise, or a value that is no YAML or has the wrong type.
    """
    folder, read = Path.cwd(), wanted.read
    of_suite = [override for override in wanted.overrides if override.startswith(_DATA)]
    model = _model(read.model)
    content: dict[str, Any] = {
        "name": "sae",
        "models": [model],
        "compressors": [_inline(read.compressor or DENSE, "--compressor")],
        "saes": _saes(wanted, name),
        "data": {"text": read.text or MICROWORLD, "context": read.context or _longest(model)},
    }
    file = Path("saetransfer sae")
    checked = suite.check(content, file, "", of_suite)
    return CommandSuite(checked, file=file, text="", folder=folder, overrides=tuple(of_suite))


def says_text(wanted: Wanted) -> bool:
    """Whether the command names a text."""
    return wanted.read.text is not None or any(override.startswith("data.") for override in wanted.overrides)


def _saes(wanted: Wanted, name: str) -> list[Definition]:
    """The SAE, after the one that it is made from where that is no card."""
    own: dict[str, Any] = {"name": name, "source": wanted.source}
    if wanted.source == "trained":
        own["on"] = "dense" if wanted.read.compressor in (None, DENSE) else "state"
    options = [f"{key}={value}" for key, value in wanted.keys.items() if value is not None]
    for override in (*options, *wanted.overrides):
        key = override.partition("=")[0]
        if key in _OWN:
            raise UsageError(f"--set {override}: '{key}' is said by {_OWN[key]}.")
        if not override.startswith(_DATA):
            apply(own, override)
    if wanted.base is None:
        return [own]
    role = "like" if wanted.source == "trained" else "base"
    base = _base(wanted.base, f"the base of {name}", f"--{role}")
    own[role] = base if isinstance(base, str) else base["name"]
    return [own] if isinstance(base, str) else [base, own]


def _base(text: str, name: str, option: str) -> Definition:
    """A card; or a folder, or keys of a suite, as a pretrained SAE of that name."""
    found = _inline(text, option)
    if isinstance(found, dict):
        return {"name": name, "source": "pretrained", **found}
    return found if found in CARDS else {"name": name, "source": "pretrained", "path": found}


def _model(text: str) -> Definition:
    """A card; or a folder or an id on the hub, under its own last name."""
    if text == MICROWORLD or text in models.cards():
        return text
    path = Path(text)
    if path.exists():
        return {"name": path.resolve().name, "path": text}
    return text if len(path.parts) == 1 else {"name": path.name, "hub": text}


def _longest(model: Definition) -> int:
    """Windows as long as a suite's, or as long as the model takes where that is shorter."""
    usual = int(Data.model_fields["context"].default)
    try:
        config = models.resolve(model, Path.cwd()).config
    except RegistryError as error:
        raise UsageError(f"MODEL: {error}") from error
    return min(usual, getattr(config, "max_position_embeddings", None) or usual)


def _inline(text: str, option: str) -> Definition:
    """A name, or a mapping in YAML's braces."""
    if not text.startswith("{"):
        return text
    try:
        found = yaml_file.parse(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{option} {text}: this is no YAML.") from error
    return {str(key): value for key, value in found.items()}
