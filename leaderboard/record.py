"""The record of one cell: everything that is known about one SAE on one state.

Strict JSON: no NaN or Infinity; a value that is not known is `null` beside its reason. Reading tolerates keys that it
does not know (a later minor addition) and refuses a newer `schema_version`; building a record forbids anything
undeclared, so that nothing that was measured is dropped in silence.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from .errors import RecordError

SCHEMA_VERSION = 1
ID_LENGTH = 16
"""Hexadecimal digits of a cell id: 64 bits, a collision in a million cells has a chance of 3e-8."""

CellId = Annotated[str, StringConstraints(pattern=rf"^[0-9a-f]{{{ID_LENGTH}}}$")]
UtcTime = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$")]


class Part(BaseModel):
    """Common settings of all parts of a record."""

    # pydantic would write infinite numbers in open fields as null; left as they are, `to_json` refuses them.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, ser_json_inf_nan="constants")


class Labels(Part):
    """Names for people. They never enter the cell id."""

    suite: str
    model: str
    compressor: str
    sae: str
    sae_source: str
    """`pretrained`, `trained`, `finetuned`, `pruned` or `random`."""
    text: str
    """The text that was measured on."""


class Spec(Part):
    """Everything that can change a quality figure, and nothing else: the cell id is its hash."""

    model: dict[str, Any]
    compressor: list[dict[str, Any]]
    """One entry a step of the chain; empty for the dense state."""
    calibration: dict[str, Any] | None = None
    """Identity of the calibration text, where the compressor reads one."""
    sae: dict[str, Any]
    site: str
    data: dict[str, Any]
    tasks: dict[str, Any]
    seed: int


class Hardware(Part):
    """What decides how fast a machine computes; nothing that names it. The same in every run on one machine."""

    cpu: str
    cores: int | None
    """Physical cores of the machine."""
    threads: int
    """Logical CPUs that the process may use."""
    memory_gib: int
    gpus: tuple[str, ...]
    """Name of every GPU that the process sees."""
    system: str
    """Operating system and architecture."""

    @classmethod
    def of(cls, environment: Mapping[str, Any]) -> Hardware | None:
        """That of a record's environment; None where it does not say."""
        try:
            return cls.model_validate(environment.get("hardware"), extra="ignore")
        except ValidationError:
            return None

    @property
    def fingerprint(self) -> str:
        """A short hash: equal for equal machines."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json")).encode()).hexdigest()[:12]

    @property
    def text(self) -> str:
        """In words."""
        gpus = f", {len(self.gpus)} x {', '.join(sorted(set(self.gpus)))}" if self.gpus else ""
        return f"{self.cpu}, {self.threads} threads, {self.memory_gib} GiB{gpus}, {self.system}"


class Measurement(Part):
    """One figure of one cell."""

    value: float | None
    unit: str
    ci: tuple[float, float] | None = None
    """95 % interval, or None where none can be given."""
    n: int | None = None
    """How many tokens (or examples) stand behind the value."""
    reason: str | None = None
    """Why there is no value, or no interval."""
    halves: tuple[float, float] | None = None
    """The figure on two disjoint halves of the text (or examples): their difference is its noise."""
    kind: Literal["quality", "cost"] = "quality"
    """Costs depend on the machine, and never enter a comparison of quality."""


class Phase(Part):
    """Cost of one phase of a run."""

    name: str
    seconds: float
    peak_rss_bytes: int | None = None
    peak_cuda_bytes: int | None = None
    """Allocated by PyTorch; None where there is no GPU."""
    peak_cuda_reserved_bytes: int | None = None
    """Taken from the GPU by PyTorch, whether in use or kept for later."""


class Failure(Part):
    """Why a cell has no figures."""

    phase: str
    type: str
    message: str
    traceback: str | None = None


class Record(Part):
    """One cell, as it stands in its file."""

    schema_version: int = SCHEMA_VERSION
    cell_id: CellId
    status: Literal["ok", "failed", "skipped"]
    created_at: UtcTime
    """UTC, ISO 8601."""
    labels: Labels
    spec: Spec
    compression: dict[str, Any] | None = None
    sae: dict[str, Any] | None = None
    """What the SAE turned out to be: widths, architecture, parameters, bytes, speed, training cost."""
    metrics: dict[str, Measurement] = Field(default_factory=dict)
    per_document: dict[str, list[float]] = Field(default_factory=dict)
    """Sums over the tokens of each document (or group of documents in a long text), or of each test example of a data
    set: what a paired comparison needs."""
    details: dict[str, Any] = Field(default_factory=dict)
    """What tasks know beside their figures, by task."""
    phases: list[Phase] = Field(default_factory=list)
    environment: dict[str, Any] = Field(default_factory=dict)
    """What ran, and on what: versions, settings, and under `hardware` what `Record.hardware` reads."""
    error: Failure | None = None

    @property
    def hardware(self) -> Hardware | None:
        """The machine it was made on; None where the record does not say (older ones do not)."""
        return Hardware.of(self.environment)

    @model_validator(mode="after")
    def _error_goes_with_the_status(self) -> Record:
        if self.status == "ok" and self.error is not None:
            raise ValueError(
                "status is 'ok' beside an error; give status 'failed' or 'skipped', or leave the error out"
            )
        if self.status != "ok" and self.error is None:
            raise ValueError(f"status is '{self.status}' without an error; say in `error` why there are no figures")
        return self


def canonical_json(value: Any) -> str:
    """The one text of a JSON value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def cell_id_of(spec: Mapping[str, Any] | Spec) -> str:
    """Hash of a spec; the same from the suite before the run and from the record after it."""
    whole = spec if isinstance(spec, Spec) else Spec(**spec)
    return cell_id_of_json(whole.model_dump(mode="json"))


def cell_id_of_json(spec: Mapping[str, Any]) -> str:
    """Hash of a spec that holds JSON values already: many times faster."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()[:ID_LENGTH]


_NUMBERS = re.compile(r"\[\n\s*((?:[-+.\deE]+|null)(?:,\n\s*(?:[-+.\deE]+|null))*)\n\s*\]")
"""A list of numbers, each on a line of its own."""


def to_json(record: Record) -> str:
    """The text of a record's file: strict JSON, keys in declared order, lists of numbers on one line."""
    text = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    # Within strings JSON has no line breaks, so no text is taken for a list.
    return _NUMBERS.sub(lambda found: "[" + " ".join(found[1].split()) + "]", text) + "\n"


def parse(text: str | bytes) -> Record:
    """The record that a JSON text holds.

    Raises:
        RecordError: the text is no strict JSON, no record, or of a newer schema; the message says which.
    """
    content = _strict_json(text)
    if not isinstance(content, dict):
        raise RecordError(f"expected a JSON object, found {type(content).__name__}")
    _check_version(content)
    try:
        return Record.model_validate(content, extra="ignore")
    except ValidationError as error:
        raise RecordError(_first_mistakes(error)) from error


def _strict_json(text: str | bytes) -> Any:
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        content = json.loads(decoded, parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)
        # Two things pass the parser and could not be written again: 1e999, which is infinite, and half surrogate pairs.
        canonical_json(content).encode()
    except UnicodeDecodeError as error:
        raise RecordError(f"the file is not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise RecordError(f"not JSON, or cut short: {error}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not strict JSON: {error}") from error
    return content


def _refuse_constant(token: str) -> NoReturn:
    raise ValueError(f"{token} is no JSON; write null and give the reason")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{twice}' stands twice in one object")
    return content


def _check_version(content: Mapping[str, Any]) -> None:
    version = content.get("schema_version")
    if type(version) is not int or version < 1:
        raise RecordError(f"schema_version is {version!r}; expected a whole number from 1 to {SCHEMA_VERSION}")
    if version > SCHEMA_VERSION:
        raise RecordError(
            f"schema_version is {version}, newer than {SCHEMA_VERSION}, the newest known here: upgrade saetransfer"
        )


def _first_mistakes(error: ValidationError, limit: int = 3) -> str:
    """The mistakes without pydantic's links and inputs, which may be megabytes long."""
    mistakes = [f"{'.'.join(map(str, item['loc'])) or 'record'}: {item['msg']}" for item in error.errors()]
    rest = f" (and {len(mistakes) - limit} more)" if len(mistakes) > limit else ""
    return "not a record: " + "; ".join(mistakes[:limit]) + rest
