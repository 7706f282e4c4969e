"""Texts: where documents come from, and which of them may be used for what.

A text plays up to three roles: `evaluation` (the figures), `calibration` (what compressors see) and `training` (what
SAEs are trained on). They never share a document: a text that plays several roles is divided by a hash of each
document, so that copies of a document fall into the same part; a text given for one role alone is used whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from .errors import RegistryError, unknown
from .files import content_hash
from .foreign import read_by_library
from .mistakes import explain

Role = Literal["evaluation", "calibration", "training"]

# Shares of a text that plays several roles: a quarter to measure on, an eighth to calibrate on, the rest to train on.
_FIRST_BYTE_BELOW: tuple[tuple[int, Role], ...] = ((64, "evaluation"), (96, "calibration"), (256, "training"))

ENDINGS = (".txt", ".jsonl", ".parquet")


class TextDefinition(BaseModel):
    """A text as a suite or a card writes it: exactly one of `path` and `hub`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str | None = None
    """A `.txt`, `.jsonl` or `.parquet` file, relative to the suite's file."""
    hub: str | None = None
    """Id of a data set on the hub, which is streamed."""
    config: str | None = None
    split: str = "train"
    revision: str = "main"
    field: str = "text"
    """Column that holds the text (`.jsonl`, `.parquet`, hub)."""
    documents: Literal["paragraphs", "file"] = "paragraphs"
    """How a `.txt` file is divided: at `<|endoftext|>` where it has that mark, otherwise at blank lines; or not."""
    summary: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> TextDefinition:
        if (self.path is None) == (self.hub is None):
            raise ValueError("give exactly one of 'path' (a file) and 'hub' (an id of a data set)")
        return self


@dataclass(frozen=True)
class Text:
    """A text that has been found."""

    name: str
    definition: TextDefinition | None
    """None for the microworld, whose documents are made as they are asked for."""
    file: Path | None
    content: dict[str, Any]
    """What identifies the content."""
    divided: bool
    """Whether the text plays several roles and is divided among them."""

    def identity(self, role: Role) -> dict[str, Any]:
        """What enters the cell id."""
        return {**self.content, "part": role if self.divided else "whole"}

    @property
    def is_one_document(self) -> bool:
        """Whether all of it is a single document, so that its windows are all there is to resample."""
        return self.definition is not None and self.definition.documents == "file"

    def documents(self, role: Role) -> Iterator[str]:
        """The documents for that role, in their own order; endless for the microworld.

        Raises:
            RegistryError: a file or data set that cannot be read.
        """
        if self.definition is None:
            from .microworld.language import stories

            return (story.text for story in stories(role))
        found = _read_file(self.file, self.definition) if self.file else _read_hub(self.definition)
        stripped = (document.strip() for document in found)
        return (document for document in stripped if document and (not self.divided or role_of(document) == role))


def role_of(document: str) -> Role:
    """The role of a document of a divided text: decided by its own content alone."""
    first_byte = hashlib.sha256(document.encode()).digest()[0]
    return next(role for below, role in _FIRST_BYTE_BELOW if first_byte < below)


def cards() -> dict[str, TextDefinition]:
    """The texts that the registry knows, by name, beside the microworld."""
    text = (resources.files(__name__.rpartition(".")[0]) / "texts.yaml").read_text(encoding="utf-8")
    return {name: TextDefinition(**card) for name, card in yaml.safe_load(text).items()}


def resolve(definition: str | Mapping[str, Any], folder: Path, divided: bool) -> Text:
    """The text that a suite names.

    Args:
        definition: a card's name, a file (if it holds a path separator or a known ending), or a mapping.
        folder: what relative paths are relative to.
        divided: whether it plays several roles in this suite.

    Raises:
        RegistryError: an unknown name, a missing or empty file, an unknown format.
    """
    if definition == "microworld":
        from .microworld.language import LANGUAGE_VERSION

        return Text("microworld", None, None, {"microworld": LANGUAGE_VERSION}, True)
    if isinstance(definition, str):
        if "/" in definition or "\\" in definition or definition.endswith(ENDINGS):
            return resolve({"path": definition}, folder, divided)
        known = cards()
        if definition not in known:
            remedy = "A text of your own: {path: FILE.txt}."
            raise unknown("text", definition, [*known, "microworld"], remedy)
        return _found(definition, known[definition], folder, divided)
    try:
        parsed = TextDefinition(**definition)
    except ValidationError as error:
        raise RegistryError("Text: " + explain(error, TextDefinition, definition)) from None
    return _found(Path(parsed.path).name if parsed.path else str(parsed.hub), parsed, folder, divided)


def _found(name: str, definition: TextDefinition, folder: Path, divided: bool) -> Text:
    if definition.path is None:
        content = definition.model_dump(include={"hub", "config", "split", "revision", "field"})
        return Text(name, definition, None, content, divided)
    file = (folder / definition.path).resolve()
    if not file.is_file():
        what = "is a folder, not a file" if file.is_dir() else "is not there: there is no file of that name"
        raise RegistryError(f"Text '{name}': {file} {what}.")
    if file.suffix not in ENDINGS:
        raise RegistryError(f"Text '{name}': unknown ending '{file.suffix}'. Allowed: {', '.join(ENDINGS)}.")
    if definition.documents == "file" and divided:
        raise RegistryError(
            f"Text '{name}' is one document (documents: file), which cannot be divided into evaluation, calibration "
            "and training. Give data.calibration and data.training texts of their own."
        )
    # The name of the file is no part of what the text is.
    content = {"file": content_hash(file), "documents": definition.documents, "field": definition.field}
    return Text(name, definition, file, content, divided)


def _read_file(file: Path, definition: TextDefinition) -> Iterator[str]:
    if file.suffix == ".parquet":
        return _read_parquet(file, definition.field)
    return _read_json_lines(file, definition.field) if file.suffix == ".jsonl" else _read_txt(file, definition)


def _read_txt(file: Path, definition: TextDefinition) -> Iterator[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RegistryError(f"Text {file} is not UTF-8: {error}.") from error
    if definition.documents == "file":
        return iter([text])
    if "<|endoftext|>" in text:
        return iter(text.split("<|endoftext|>"))
    return iter(re.split(r"\n\s*\n", text))


def _read_json_lines(file: Path, field: str) -> Iterator[str]:
    with file.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _text_field(line, field, f"{file}, line {number}")
        except UnicodeDecodeError as error:
            raise RegistryError(f"Text {file} is not UTF-8: {error}.") from error


def _text_field(line: str, field: str, place: str) -> str:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise RegistryError(f"{place}: no JSON: {error.msg}.") from error
    value = row.get(field) if isinstance(row, dict) else None
    if value is not None and not isinstance(value, str):
        raise RegistryError(f"{place}: field '{field}' holds {type(value).__name__}, not text.")
    if value is None:
        keys = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise RegistryError(f"{place}: no text in field '{field}' (found: {keys}). Name it with field: NAME.")
    return value


def _read_parquet(file: Path, field: str) -> Iterator[str]:
    from pyarrow import parquet

    with read_by_library(f"{file} is no readable Parquet file"):
        table = parquet.ParquetFile(file)
        if field not in table.schema_arrow.names:
            found = ", ".join(table.schema_arrow.names)
            raise RegistryError(f"{file}: no column '{field}' (found: {found}). Name it with field: NAME.")
        for batch in table.iter_batches(columns=[field]):
            yield from (value for value in batch.column(0).to_pylist() if value is not None)


def _read_hub(definition: TextDefinition) -> Iterator[str]:
    from datasets import load_dataset

    try:
        rows = load_dataset(
            str(definition.hub), definition.config, split=definition.split, revision=definition.revision, streaming=True
        )
        for row in rows:
            yield row[definition.field]
    except (OSError, ValueError, KeyError) as error:
        raise RegistryError(f"The data set {definition.hub} cannot be read: {error}.") from error


def nothing_to(text: Text, role: Role) -> RegistryError:
    """The error for a text that has no document with a token for a role."""
    why = (
        "A text that plays several roles is divided among evaluation, calibration and training by a hash of each "
        "document, so it needs at least some dozen different documents (see 'documents:'). Give data.calibration.text "
        "and data.training.text texts of their own, or a longer text."
        if text.divided
        else "It is empty."
    )
    return RegistryError(f"Text '{text.name}' has no documents for {role}. {why}")


def check(text: Text, role: Role) -> None:
    """Read the first document of a local file, so that mistakes show before anything is run.

    Raises:
        RegistryError: it cannot be read, or has none.
    """
    if text.file is not None and next(text.documents(role), None) is None:
        raise nothing_to(text, role)


def shared_document(first: Text, first_role: Role, second: Text, second_role: Role) -> str | None:
    """A document that both texts have for these roles, or None; only local files are looked into.

    Parts of one divided text never share a document, so there is nothing to look for.
    """
    if first.file is None or second.file is None or (first.divided and second.divided):
        return None
    seen = {hashlib.sha256(document.encode()).digest() for document in first.documents(first_role)}
    found = (d for d in second.documents(second_role) if hashlib.sha256(d.encode()).digest() in seen)
    return next(found, None)


def endless(text: Text, role: Role) -> Iterator[str]:
    """The documents for that role, again and again: for training that wants more tokens than the text has.

    Raises:
        RegistryError: the text has no document for that role.
    """
    while True:
        empty = True
        for document in text.documents(role):
            empty = False
            yield document
        if empty:
            raise nothing_to(text, role)
