"""A suite: the YAML file that names what is crossed into a grid, checked, with the place of every mistake.

Only the form is checked here (keys, types); `plan` looks up the names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ...registry import credentials
from ...registry.errors import unknown
from ...registry.mistakes import unknown_key
from ..commands.overrides import apply, covers
from ..errors import UsageError
from . import yaml_file

Definition = str | dict[str, Any]
"""A name of the registry, or an inline definition."""

_LARGEST_BYTES = 16 * 2**20

Place = tuple[str | int, ...]
"""Where in the file something stands: keys and positions from the top."""


def _whole_number(value: Any) -> Any:
    """Humans write 200_000, which YAML may read as text; `true` is no number, though Python takes it for 1."""
    if isinstance(value, bool):
        raise ValueError("a whole number is needed")
    plain = value.replace("_", "") if isinstance(value, str) else ""
    return int(plain) if plain.isascii() and plain.isdecimal() else value


Count = Annotated[int, BeforeValidator(_whole_number), Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Calibration(_Section):
    """What compressors, and SAE pruning, look at."""

    text: Definition | None = None
    """None: the part of the evaluation text that is set aside for calibration."""
    sequences: Count = 128
    context: Count | None = None
    """Positions of a sequence at most; None: as in evaluation."""
    seed: Annotated[int, BeforeValidator(_whole_number), Field(ge=0)] = 0
    """Which sequences of the text are taken."""
    propagation: Literal["sequential", "dense"] = "sequential"
    """Whether a block's inputs come from the compressed blocks before it, as published, or from the dense ones."""


class Training(_Section):
    """What SAEs are trained on."""

    text: Definition | None = None
    """None: the part of the evaluation text that is set aside for training."""


class Data(_Section):
    """Texts and how they are cut."""

    text: Definition
    tokens: Count = 16_384
    """Tokens to evaluate on at most (BOS not counted)."""
    context: Annotated[int, BeforeValidator(_whole_number), Field(ge=4)] = 128
    """Positions of a window at most, BOS included."""
    prepend_bos: bool | None = None
    """Whether windows begin with BOS; None: as each SAE was trained."""
    calibration: Calibration = Calibration()
    training: Training = Training()
    probing: list[Definition] | None = None
    """Labelled texts for probes; None: the microworld's, where that is the text."""


class Suite(_Section):
    """A grid: every model x every compressor x every SAE, measured by every task."""

    name: Annotated[str, Field(min_length=1)]
    description: str = ""
    models: Annotated[list[Definition], Field(min_length=1)]
    compressors: Annotated[list[Definition], Field(min_length=1)]
    saes: Annotated[list[Definition], Field(min_length=1)]
    tasks: Annotated[list[Definition], Field(min_length=1)] = ["reconstruction", "perplexity"]
    data: Data
    seed: Annotated[int, BeforeValidator(_whole_number), Field(ge=0)] = 0


@dataclass(frozen=True)
class SuiteFile:
    """A suite with the file it came from, for relative paths and for messages."""

    suite: Suite
    file: Path
    text: str
    folder: Path
    """What relative paths in the suite are relative to: its own folder, or, for a suite that ships, the user's."""
    overrides: tuple[str, ...] = ()
    """`KEY=VALUE`, as applied to what the file holds."""
    trusts_remote_code: bool = False
    """Whether the user, and not only the suite, has said that the code of a model may run."""

    def mistake(self, place: Place, message: str) -> UsageError:
        """The error for something at that place of the file."""
        return UsageError(_located(self.file, self.text, self.overrides, place, message))


def shipped() -> dict[str, Path]:
    """The suites that come with the package, by name."""
    folder = Path(str(resources.files("saetransfer.bench.suites")))
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def load(name_or_file: str, overrides: Sequence[str] = (), trusts_remote_code: bool = False) -> SuiteFile:
    """The suite of that name or file, with `KEY=VALUE` overrides (dotted keys, values in YAML).

    Raises:
        UsageError: no such suite, no YAML, an unknown key, a wrong type, a credential; with file and line.
    """
    file = _find(name_or_file)
    text = _read(file)
    _refuse_credentials(file, text, overrides)
    content = _parse(file, text)
    if not isinstance(content, dict):
        got = "nothing" if content is None else type(content).__name__
        raise UsageError(f"{file}: a suite is a mapping with the keys {', '.join(Suite.model_fields)}; got {got}.")
    suite = check(content, file, text, overrides)
    folder = Path.cwd() if name_or_file in shipped() else file.parent
    return SuiteFile(suite, file, text, folder, tuple(overrides), trusts_remote_code)


def check(content: dict[str, Any], file: Path, text: str, overrides: Sequence[str]) -> Suite:
    """Content as a suite, after the overrides have been applied to it.

    Args:
        file: where it came from, for messages, and `text` what stands there.

    Raises:
        UsageError: an unknown key, a wrong type; with file and line.
    """
    for override in overrides:
        apply(content, override)
    try:
        return Suite(**{str(key): value for key, value in content.items()})
    except ValidationError as error:
        raise UsageError("\n".join(_sentences(file, text, overrides, error))) from None


def _find(name_or_file: str) -> Path:
    known = shipped()
    if name_or_file in known:
        return known[name_or_file]
    file = Path(name_or_file)
    if file.is_file():
        return file.resolve()
    if file.suffix in (".yaml", ".yml") or len(file.parts) > 1:
        raise UsageError(f"There is no suite file {name_or_file}.")
    raise UsageError(str(unknown("suite", name_or_file, known, "A suite of your own: give its .yaml file.")))


def _read(file: Path) -> str:
    try:
        if (size := file.stat().st_size) > _LARGEST_BYTES:
            raise UsageError(f"{file} has {size:,} bytes; a suite has at most {_LARGEST_BYTES:,}.")
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text: {error}.") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}.") from error


def _refuse_credentials(file: Path, text: str, overrides: Sequence[str]) -> None:
    places = [(f"{file}:{number}", line) for number, line in enumerate(text.splitlines(), start=1)]
    for place, said in (*places, *(("--set", override) for override in overrides)):
        if credentials.are_in(said):
            raise UsageError(
                f"{place}: a credential stands in '{credentials.scrub(said).strip()}' (shown as {credentials.HIDDEN}), "
                "and what a suite says stands in every record. Give it in the environment, for example as HF_TOKEN."
            )


def _parse(file: Path, text: str) -> Any:
    try:
        return yaml_file.parse(text)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{file}{line}: no YAML: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file}: no YAML that can be a suite: {error}.") from error


def _sentences(file: Path, text: str, overrides: Sequence[str], error: ValidationError) -> Iterator[str]:
    """One located sentence a mistake; of a union's alternatives, only the first says what is wrong."""
    seen: set[Place] = set()
    for detail in error.errors():
        place = tuple(part for part in detail["loc"] if part not in ("str", "dict[str,any]"))
        if place in seen:
            continue
        seen.add(place)
        yield _located(file, text, overrides, place, _sentence(detail, place))


def _sentence(detail: Any, place: Place) -> str:
    if detail["type"] == "extra_forbidden":
        return unknown_key(str(place[-1]), list(_section_at(place[:-1]).model_fields))
    if detail["type"] == "missing":
        return f"key '{place[-1]}' is missing."
    if detail["type"] == "list_type":
        return f"expected a list, got {detail['input']!r}; write [{detail['input']}] for a single one."
    if detail["type"] == "too_short":
        return "the list is empty; name at least one."
    if detail["type"] in ("string_type", "dict_type"):
        return f"expected a name or a mapping (an inline definition), got {detail['input']!r}."
    message = detail["msg"].removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}; got {detail['input']!r}."


def _section_at(place: Place) -> type[BaseModel]:
    sections: dict[Place, type[BaseModel]] = {
        ("data",): Data,
        ("data", "calibration"): Calibration,
        ("data", "training"): Training,
    }
    return sections.get(place, Suite)


def _located(file: Path, text: str, overrides: Sequence[str], place: Place, message: str) -> str:
    """`file:line (key): message`; the line is that of the deepest part of the place that the file has.

    What `--set` has put there is named instead of the file.
    """
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    override = next((override for override in reversed(overrides) if covers(override, place)), None)
    line = yaml_file.line_of(text, place)
    where = f"{file}{f':{line}' if line else ''}" if override is None else f"--set {override}"
    return f"{where}{f' ({name})' if name else ''}: {message}"
