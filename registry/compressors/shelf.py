"""The shelf of compressors: methods, cards at usual strengths, and what a line of a suite stands for.

A definition is the name of a card (`wanda-50`), of an earlier compressor of the same suite, or a mapping:
`{name, method, **params}`, where the method may be a user's own `file.py:function`, or `{name, chain: [...]}`.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from transformers import PreTrainedModel

from ..calibration import Calibration
from ..catalog import Catalog
from ..errors import RegistryError, unknown
from .external.checkpoint import CHECKPOINT
from .external.command import COMMAND
from .kernels.bitsandbytes import BNB_FP4, BNB_INT8, BNB_NF4
from .kernels.semi_structured import SEMI_STRUCTURED
from .kernels.torchao import TORCHAO_FLOAT8, TORCHAO_INT4, TORCHAO_INT8, TORCHAO_INTX
from .method import Compressor, Method, Step, Tier, user_method
from .simulated.activations import ROUNDED_ACTIVATIONS
from .simulated.awq import AWQ
from .simulated.codebook import CODEBOOK
from .simulated.gptq import GPTQ
from .simulated.hqq import HQQ
from .simulated.lowrank import SVD, SVD_WHITENED
from .simulated.pruning import MAGNITUDE, WANDA
from .simulated.rounding import RTN
from .simulated.sparsegpt import SPARSEGPT
from .structured.blocks import DROP_BLOCKS
from .structured.heads import HEADS
from .structured.neurons import NEURONS

_AUTO_GPTQ = ("auto-gptq", "autogptq", "auto_gptq", "gptq-auto", "gptq_auto", "gptqauto")


def leave(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
) -> PreTrainedModel:
    """The model as it is."""
    return model


DENSE = Method(
    name="dense",
    function=leave,
    tier="reference",
    needs_calibration=False,
    summary="leaves the model as it is: the state that all others are compared with",
    source="the model's own weights",
)


def _from_entry_point(name: str, loaded: object) -> Method:
    if isinstance(loaded, Method):
        return loaded
    if not callable(loaded):
        raise RegistryError(f"The plug-in '{name}' must offer a function or a Method, not a {type(loaded).__name__}.")
    file = inspect.getsourcefile(inspect.unwrap(loaded)) if inspect.isroutine(loaded) else None
    return user_method(name, loaded, f"plug-in {loaded.__module__}", None if file is None else Path(file))


METHODS: Catalog[Method] = Catalog("compression method", "saetransfer.compressors", _from_entry_point)
_PRUNING = (MAGNITUDE, WANDA, SPARSEGPT)
_ROUNDING = (RTN, GPTQ, AWQ, HQQ, CODEBOOK, ROUNDED_ACTIVATIONS)
_LOW_RANK = (SVD, SVD_WHITENED)
_BITSANDBYTES = (BNB_INT8, BNB_NF4, BNB_FP4)
_TORCHAO = (TORCHAO_INT8, TORCHAO_INT4, TORCHAO_INTX, TORCHAO_FLOAT8)
_STRUCTURED = (HEADS, NEURONS, DROP_BLOCKS)
_KERNELS = (*_BITSANDBYTES, *_TORCHAO, SEMI_STRUCTURED)
_EXTERNAL = (CHECKPOINT, COMMAND)
for _built_in in (DENSE, *_PRUNING, *_ROUNDING, *_LOW_RANK, *_STRUCTURED, *_KERNELS, *_EXTERNAL):
    METHODS.register(_built_in.name, _built_in, "saetransfer")


@dataclass(frozen=True)
class Card:
    """A compressor at a usual strength."""

    name: str
    method: str
    params: Mapping[str, Any]
    summary: str
    paper: str | None
    citation: str | None

    def compressor(self) -> Compressor:
        """The compressor it stands for."""
        return Compressor(self.name, _steps(METHODS.get(self.method), self.params))


@dataclass(frozen=True)
class Listing:
    """A line of `saetransfer list compressors`."""

    name: str
    method: str
    tier: Tier | None
    """None where a plug-in cannot be loaded."""
    needs_calibration: bool | None
    summary: str
    missing: str | None
    """Why it cannot run here, with the remedy; None where it can."""


@cache
def cards() -> dict[str, Card]:
    """All cards by name."""
    text = resources.files(__name__.rpartition(".")[0]).joinpath("cards.yaml").read_text(encoding="utf-8")
    return {
        name: Card(name, group["method"], card["params"], card["summary"], group["paper"], group["citation"])
        for group in yaml.safe_load(text)
        for name, card in group["cards"].items()
    }


def listings() -> Iterator[Listing]:
    """Every card, then every method that asks for parameters or comes from a plug-in."""
    for card in cards().values():
        method = METHODS.get(card.method)
        needed = method.reads_calibration(dict(card.params))
        yield Listing(card.name, method.name, method.tier, needed, card.summary, method.missing())
    for name in METHODS:
        if name in cards():
            continue
        try:
            method = METHODS.get(name)
        except RegistryError as error:
            yield Listing(name, name, None, None, "plug-in that does not load", str(error))
            continue
        usage = f"{method.summary} (`{{name: ..., method: {name}, ...}}`)"
        yield Listing(name, method.name, method.tier, method.reads_calibration({}), usage, method.missing())


def resolve(definition: object, folder: Path, named: Mapping[str, Compressor]) -> Compressor:
    """The compressor that a definition stands for.

    Args:
        definition: what the suite's YAML holds: a name, or a mapping as described on top of this file.
        folder: what the path of a user's function is relative to.
        named: the compressors defined so far in the same suite.

    Raises:
        RegistryError: any mistake, with what was got, what is allowed and what to do.
    """
    if isinstance(definition, str):
        return _by_name(definition, folder, named)
    if not isinstance(definition, Mapping):
        raise RegistryError(f"A compressor is a name or a mapping with `method` or `chain`, got {definition!r}.")
    keys = dict(definition)
    name = keys.pop("name", None)
    if name is not None and (not isinstance(name, str) or not name):
        raise RegistryError(f"The name of a compressor must be a text, got {name!r}. Put it in quotes.")
    if ("method" in keys) == ("chain" in keys):
        raise RegistryError(f"A compressor has either `method` or `chain`, got {_keys(definition)}.")
    if "chain" in keys:
        return _chain(name, keys, folder, named)
    method = _method(keys.pop("method"), folder)
    if name is None and method.file_sha256 is None:
        raise RegistryError(f"The compressor with `method: {method.name}` needs a `name`, under which results appear.")
    return Compressor(name or method.name, _steps(method, keys, folder))


def _by_name(name: str, folder: Path, named: Mapping[str, Compressor]) -> Compressor:
    if name in named:
        return named[name]
    if name in cards():
        return cards()[name].compressor()
    if _is_path(name) or name.lower() in _AUTO_GPTQ:
        return resolve({"method": name}, folder, named)
    if name in METHODS:
        return Compressor(name, _steps(METHODS.get(name), {}))
    remedy = "Another strength is written `{name: ..., method: ..., parameter: value}`."
    raise unknown("compressor", name, {*named, *cards(), *METHODS}, remedy)


def _chain(name: str | None, keys: Mapping[str, Any], folder: Path, named: Mapping[str, Compressor]) -> Compressor:
    links = keys["chain"]
    if name is None:
        raise RegistryError("A chain of compressors needs a `name`, under which results appear.")
    if set(keys) != {"chain"}:
        extra = ", ".join(sorted(set(keys) - {"chain"}))
        raise RegistryError(f"The chain '{name}' takes no parameters of its own ({extra}): give them to its links.")
    if isinstance(links, str) or not isinstance(links, Sequence) or not links:
        raise RegistryError(f"The chain '{name}' must be a list of compressors in order, got {links!r}.")
    steps: list[Step] = []
    for link in links:
        if link == name or (isinstance(link, Mapping) and link.get("name") == name):
            raise RegistryError(f"The chain '{name}' contains itself. Give the link or the chain another name.")
        inner = {"name": f"{name}, step {len(steps) + 1}", **link} if isinstance(link, Mapping) else link
        found = resolve(inner, folder, named)
        if not found.steps:
            raise RegistryError(f"The chain '{name}' contains '{found.name}', which changes nothing. Leave it out.")
        steps.extend(found.steps)
    return Compressor(name, tuple(steps))


def _steps(method: Method, params: Mapping[str, Any], folder: Path = Path()) -> tuple[Step, ...]:
    step = method.step(params, folder)
    return () if method is DENSE else (step,)


def _method(text: object, folder: Path) -> Method:
    if not isinstance(text, str):
        raise RegistryError(f"`method` must be the name of a method or `file.py:function`, got {text!r}.")
    if text.lower() in _AUTO_GPTQ:
        raise RegistryError(
            f"'{text}' cannot be used: auto-gptq is end-of-life (last release 0.7.1 of March 2024) and does not import "
            "beside transformers 5. The algorithm is built in as `gptq-4`; checkpoints in its format load with "
            "`method: checkpoint`, through its successor gptqmodel; and `method: command` runs the library itself in "
            "an environment of its own (recipe in registry/compressors/external/README.md)."
        )
    return _from_file(text, folder) if _is_path(text) else METHODS.get(text)


def _is_path(text: str) -> bool:
    return ".py:" in text or text.endswith(".py")


def _from_file(text: str, folder: Path) -> Method:
    path, _, name = text.rpartition(":")
    if not path.endswith(".py"):
        raise RegistryError(f"'{text}' names no function: write `{text.rstrip(':')}:NAME`.")
    file = folder / path
    if not file.is_file():
        close = difflib.get_close_matches(path, [other.name for other in folder.glob("*.py")], n=1)
        guess = f" Did you mean '{close[0]}'?" if close else ""
        raise RegistryError(f"There is no file '{path}' in {folder.resolve()}, where relative paths start.{guess}")
    module = _import(file, path)
    function = vars(module).get(name)
    if not inspect.isfunction(function):
        functions = [key for key, value in vars(module).items() if inspect.isfunction(value) and key[0] != "_"]
        raise unknown("function", f"{path}:{name}", [f"{path}:{key}" for key in functions])
    return user_method(name, function, text, file)


def _import(file: Path, shown: str) -> ModuleType:
    # The name is the path's, since files of one name may lie in several folders; dataclasses look it up while they are
    # being defined, hence the entry in `sys.modules`.
    name = f"saetransfer_user_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise RegistryError(f"'{shown}' is no Python file.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise RegistryError(f"'{shown}' does not import: {type(error).__name__}: {error}") from error
    return module


def _keys(definition: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}`" for key in definition) or "neither"
