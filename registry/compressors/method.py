"""Methods, steps and compressors: a function with its facts, one use of it, and a chain of uses.

The contract of a method is `function(model, calibration, **params) -> model`; it may change the model in place.
Parameters are what follows the first two arguments. Their names, types and ranges are read off the signature, where
`Annotated[float, Field(gt=0, lt=1)]` states a range, and checked when a suite is read, not when a job runs.
"""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_type_hints

import torch
from pydantic import BaseModel, ConfigDict, PydanticUserError, ValidationError, create_model
from transformers import PreTrainedModel

from ..calibration import Calibration
from ..errors import Impossible, RegistryError, unknown
from .outcome import CompressionWarning, NotCompressed
from .promise import Promise

Params = dict[str, Any]

Tier = Literal["reference", "simulated", "structured", "kernel", "external", "user"]
_STRONGEST_FIRST: tuple[Tier, ...] = ("user", "external", "kernel", "structured", "simulated", "reference")
_LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def _nothing_promised(_params: Params) -> Promise:
    return Promise(keeps_rest=False, adds_zeros=True)


def _nothing_missing() -> str | None:
    return None


def _nothing_outside(params: Params, _folder: Path) -> Outside:
    return Outside(params, params)


@dataclass(frozen=True)
class Outside:
    """Parameters of a method that names files, once these were looked up."""

    params: Params
    """What the function is called with: paths are absolute."""
    identity: Params
    """What enters the cell id: hashes of contents in the place of paths."""


@dataclass(frozen=True)
class Method:
    """A way to compress, with everything there is to know about it."""

    name: str
    function: Callable[..., PreTrainedModel]
    """`(model, calibration, **params) -> model`."""
    tier: Tier
    """`simulated`: our code, weights stay dense tensors; `structured`: our code, parts are taken out; `kernel`: a
    library's own storage and speed; `external`: compressed by another tool; `user`: an author's own function;
    `reference`: the dense model."""
    needs_calibration: bool | Callable[[Params], bool]
    """Whether it reads calibration text; a function where that depends on its parameters."""
    summary: str
    source: str
    """Where the method is from: a paper, a library, the file of a user's function."""
    promise: Callable[[Params], Promise] = _nothing_promised
    """What verification holds the result to, from the parameters; raises RegistryError where these contradict each
    other."""
    outside: Callable[[Params, Path], Outside] = _nothing_outside
    """Looks up the files that parameters name, relative to the suite's folder; raises RegistryError on a mistake."""
    missing: Callable[[], str | None] = _nothing_missing
    """What is not installed here, with the command that installs it; None where nothing is."""
    file_sha256: str | None = None
    """Hash of the file of a function from outside, so that a changed function is another compressor."""

    @cached_property
    def parameters(self) -> type[BaseModel]:
        """The model that checks the parameters, built from the signature.

        Raises:
            RegistryError: a signature that does not take `model` and `calibration`, or that cannot be read.
        """
        model_and_calibration, accepted = _split_signature(self.name, self.function)
        if len(model_and_calibration) < 2:
            raise RegistryError(
                f"{self.name}{inspect.signature(self.function)} cannot be a compressor: it must take the model and "
                f"the calibration first, as in `def {self.function.__name__}(model, calibration, ratio=0.5)`."
            )
        open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted)
        # Strict: a number in quotes or a boolean in the place of a number is a mistake, not something to convert.
        config = ConfigDict(
            extra="allow" if open_ended else "forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
        )
        named = [parameter for parameter in accepted if parameter.kind is not parameter.VAR_KEYWORD]
        types = _annotations(self.name, self.function, named)
        fields: dict[str, Any] = {
            parameter.name: (types[parameter.name], ... if parameter.default is parameter.empty else parameter.default)
            for parameter in named
        }
        try:
            return create_model(f"{self.name} parameters", __config__=config, **fields)
        except (PydanticUserError, NameError) as error:
            raise RegistryError(f"The parameters of {self.name} cannot be read off its signature: {error}") from error

    def step(self, params: Mapping[str, Any], folder: Path = Path()) -> Step:
        """One use of the method, its parameters checked and defaults filled in.

        Args:
            folder: what paths among the parameters are relative to.

        Raises:
            RegistryError: an unknown, missing, ill-typed or out-of-range parameter, parameters that contradict each
                other, or a file that is not there.
        """
        try:
            checked = self.parameters.model_validate(dict(params))
        except ValidationError as error:
            raise self._explain(error) from error
        found = self.outside(checked.model_dump(), folder)
        self.promise(found.params)
        return Step(self, found.params, found.identity)

    def reads_calibration(self, params: Params) -> bool:
        """Whether, with these parameters, it reads calibration text."""
        return self.needs_calibration(params) if callable(self.needs_calibration) else self.needs_calibration

    def _explain(self, error: ValidationError) -> RegistryError:
        allowed = list(self.parameters.model_fields)
        by_name: dict[str, list[Any]] = {}
        for problem in error.errors():
            by_name.setdefault(str(problem["loc"][0]), []).append(problem)
        texts: list[str] = []
        for name, problems in by_name.items():
            if problems[0]["type"] == "extra_forbidden":
                if not allowed:
                    return RegistryError(f"Method '{self.name}' takes no parameters, got '{name}'.")
                return unknown(f"{self.name} parameter", name, allowed)
            if problems[0]["type"] == "missing":
                texts.append(f"Method '{self.name}' needs the parameter '{name}'.")
            else:
                texts.append(f"Parameter '{name}' of method '{self.name}' is {_complaint(problems)}.")
        properties = self.parameters.model_json_schema()["properties"]
        signature = "; ".join(_described(name, properties[name]) for name in allowed)
        return RegistryError(f"{' '.join(texts)} Allowed: {signature}.")


@dataclass(frozen=True)
class Step:
    """One use of a method."""

    method: Method
    params: Params = field(default_factory=dict)
    """Checked, with all defaults."""
    identity_params: Params = field(default_factory=dict)
    """The same with contents in the place of paths."""

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides what the step does, for hashing: method, parameters, and the hash of a function's file."""
        outside = {} if self.method.file_sha256 is None else {"file_sha256": self.method.file_sha256}
        return {"method": self.method.name, **outside, "params": self.identity_params}

    @property
    def needs_calibration(self) -> bool:
        """Whether it reads calibration text."""
        return self.method.reads_calibration(self.params)


@dataclass(frozen=True)
class Compressor:
    """What turns a model into a smaller or cheaper one: steps, one after the other. No step leaves it dense."""

    name: str
    """For display; no part of the identity."""
    steps: tuple[Step, ...] = ()

    @property
    def identity(self) -> list[dict[str, Any]]:
        """All that decides what becomes of the model, canonical and ready for JSON; the name is no part of it."""
        return [step.identity for step in self.steps]

    @property
    def needs_calibration(self) -> bool:
        """Whether some step reads calibration text."""
        return any(step.needs_calibration for step in self.steps)

    @property
    def tier(self) -> Tier:
        """The tier of the chain: `user` if any step is, else `kernel` if any is, and so on."""
        tiers = {"reference", *(step.method.tier for step in self.steps)}
        return next(tier for tier in _STRONGEST_FIRST if tier in tiers)

    @property
    def promise(self) -> Promise:
        """What the result is held to: zeros of a step must survive the steps that follow."""
        if not self.steps:
            return Promise(is_dense=True)
        first, *later = [step.method.promise(step.params) for step in self.steps]
        for promise in later:
            first = first.then(promise)
        return first

    def missing(self) -> str | None:
        """What some step needs and is not installed here, with the remedy; None where all is there."""
        return next((text for text in (step.method.missing() for step in self.steps) if text is not None), None)


def compress(model: PreTrainedModel, compressor: Compressor, calibration: Calibration | None) -> PreTrainedModel:
    """Run all steps; the model given is used up (changed in place or not), so hand over a copy to keep it.

    Steps run without gradients (a method that needs them opens `torch.enable_grad()`), and the result is in evaluation
    mode.

    Raises:
        Impossible: something a step needs is not installed here.
        RegistryError: a step needs calibration and there is none.
        NotCompressed: a step returned something that is no model.
    """
    missing = compressor.missing()
    if missing is not None:
        raise Impossible(missing)
    for step in compressor.steps:
        if step.needs_calibration and calibration is None:
            raise RegistryError(f"Method '{step.method.name}' needs calibration text, and none was given.")
        with torch.no_grad():
            result = step.method.function(model, calibration, **step.params)
        if not isinstance(result, PreTrainedModel):
            raise NotCompressed(
                f"Method '{step.method.name}' returned {_a(result)}. A compressor must return the model, "
                "also where it changed it in place."
            )
        model = result.eval()
    return model


@contextmanager
def noted_warnings() -> Iterator[list[str]]:
    """For the time of the context, what methods warn of goes into the list, for the record, and nowhere else."""
    notes: list[str] = []
    usual = warnings.showwarning

    def note(message: Warning | str, category: type[Warning], *rest: Any, **kwargs: Any) -> None:
        if issubclass(category, CompressionWarning):
            notes.append(str(message))
        else:
            usual(message, category, *rest, **kwargs)

    with warnings.catch_warnings():
        warnings.simplefilter("always", CompressionWarning)
        warnings.showwarning = note
        yield notes


def user_method(name: str, function: Callable[..., Any], source: str, file: Path | None) -> Method:
    """A method from a function of somebody else's: a file named in a suite, or a plug-in.

    Such a function always gets the calibration text, and promises nothing but that something changes.

    Raises:
        RegistryError: a signature that does not fit the contract.
    """
    method = Method(
        name=name,
        function=function,
        tier="user",
        needs_calibration=True,
        summary=(inspect.getdoc(function) or "an author's own function").splitlines()[0],
        source=source,
        file_sha256=None if file is None else hashlib.sha256(file.read_bytes()).hexdigest(),
    )
    _ = method.parameters
    return method


def _split_signature(
    name: str, function: Callable[..., Any]
) -> tuple[list[inspect.Parameter], list[inspect.Parameter]]:
    """The first two arguments that can be given by position, and the parameters that follow."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise RegistryError(f"{name} cannot be a compressor: it is no function with a readable signature.") from error
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:2]
    rest = [p for p in parameters if p not in positional and p.kind is not p.VAR_POSITIONAL]
    return positional, rest


def _annotations(name: str, function: Callable[..., Any], named: list[inspect.Parameter]) -> dict[str, Any]:
    """The types of the parameters alone: those of the model and the calibration are the author's affair."""
    written = {p.name: p.annotation for p in named if p.annotation is not p.empty}
    scope = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        known = get_type_hints(SimpleNamespace(__annotations__=written), globalns=scope, include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        raise RegistryError(f"The types of the parameters of {name} cannot be read: {error}") from error
    return {p.name: known.get(p.name, Any) for p in named}


def _complaint(problems: list[Any]) -> str:
    """What is wrong with a value. Of alternatives, those that the value is of the right kind for are the ones meant."""
    close = [problem for problem in problems if not problem["type"].endswith("_type")] or problems
    said = " or ".join(dict.fromkeys(problem["msg"][0].lower() + problem["msg"][1:] for problem in close))
    return f"{close[0]['input']!r}: {said}"


def _described(name: str, schema: Mapping[str, Any]) -> str:
    """A parameter with its type, range and default, as in `bits: integer (at least 2, at most 8)`."""
    kinds = " or ".join(_kind(one) for one in schema.get("anyOf", [schema]))
    return f"{name}: {kinds}" + (f", by default {schema['default']!r}" if "default" in schema else "")


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(repr(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if "pattern" in schema:
        return f"text ({schema.get('description', schema['pattern'])})"
    limits = [f"{text} {schema[key]:g}" for key, text in _LIMITS.items() if key in schema]
    return str(schema.get("type", "anything")) + (f" ({', '.join(limits)})" if limits else "")


def _a(value: object) -> str:
    return "nothing (None)" if value is None else f"an object of type {type(value).__name__}"
