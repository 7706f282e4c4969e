"""Where labelled documents come from: the form in which they are named, and the rows of files and hub data sets."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .errors import Impossible, RegistryError

Split = Literal["train", "test"]


class Part(BaseModel):
    """A configuration of a hub data set whose documents all have one value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: str
    text: str


class LabelledDefinition(BaseModel):
    """A labelled text as a suite or a card writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    card: str | None = None
    """Name of a card (or `microworld`) of which something is chosen."""
    path: str | None = None
    """`.jsonl` or `.csv` file, relative to the suite's file."""
    test: str | None = None
    """File of the test documents; without one, one in five documents of `path` is for testing."""
    hub: str | None = None
    config: str | None = None
    revision: str = "main"
    train_split: str = "train"
    test_split: str | None = "test"
    text: str = "text"
    """Column that holds the text; a dot goes into a nested column."""
    label: str | None = None
    """Column that holds the label, where there is one attribute; `label` unless said otherwise."""
    labels: dict[str, str] | None = Field(None, min_length=1)
    """Attribute -> column, where there are several."""
    values: dict[str, dict[str | int | float, str]] | None = None
    """Attribute -> value as it stands in the data -> its name; others are left out."""
    parts: dict[str, Part] | None = None
    part: str = "part"
    """Attribute whose values are the parts."""
    attributes: list[str] | None = None
    """Those to be probed; all unless said otherwise."""
    spurious: list[tuple[str, str]] | None = None
    """Pairs (target, spurious attribute) for SCR."""
    skip_characters: int = Field(0, ge=0)
    train_examples: int = Field(4000, ge=2)
    """Training documents at most."""
    test_examples: int = Field(1000, ge=2)
    missing: str | None = None
    summary: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> LabelledDefinition:
        if sum(source is not None for source in (self.card, self.path, self.hub)) != 1:
            raise ValueError("give exactly one of 'card' (a name), 'path' (a file) and 'hub' (an id of a data set)")
        if self.label is not None and self.labels is not None:
            raise ValueError("give 'label' (one column) or 'labels' (attribute: column), not both")
        if self.test is not None and self.path is None:
            raise ValueError("'test' is the file of the test documents beside 'path'; for a data set give 'test_split'")
        for attribute, names in (self.values or {}).items():
            if attribute not in self.columns and self.card is None:
                known = ", ".join(self.columns)
                raise ValueError(f"'values' are of the attributes {known or 'of columns'}, got '{attribute}'")
            if not names:
                raise ValueError(
                    f"'values' of '{attribute}' are none; name those to tell apart, or leave it out for all"
                )
        return self

    @property
    def columns(self) -> dict[str, str]:
        """Attribute -> column."""
        if self.labels is not None:
            return self.labels
        return {} if self.parts else {self.label or "label": self.label or "label"}


@dataclass(frozen=True)
class Document:
    """One labelled document."""

    text: str
    labels: dict[str, str]


def of_file(file: Path, definition: LabelledDefinition) -> Iterator[Document]:
    """The documents of a local file, in its order.

    Raises:
        RegistryError: no UTF-8, no JSON or CSV, no such column, a label that is none; with the line.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = _json_rows(stream, file) if file.suffix == ".jsonl" else _csv_rows(stream, file)
            for place, row in rows:
                document = _document(row, definition, place)
                if document is not None:
                    yield document
    except UnicodeDecodeError as error:
        raise RegistryError(f"Labelled text {file} is not UTF-8: {error}.") from error


def _json_rows(stream: Any, file: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(stream, start=1):
        if line.strip():
            try:
                yield f"{file}, line {number}", json.loads(line)
            except json.JSONDecodeError as error:
                raise RegistryError(f"{file}, line {number}: no JSON: {error.msg}.") from error
            except RecursionError as error:
                raise RegistryError(f"{file}, line {number}: nested too deeply to be a document.") from error


def _csv_rows(stream: Any, file: Path) -> Iterator[tuple[str, Any]]:
    try:
        for number, row in enumerate(csv.DictReader(stream, strict=True), start=2):
            yield f"{file}, row {number}", row
    except csv.Error as error:
        raise RegistryError(f"{file} is no readable CSV: {error}.") from error


def of_hub(definition: LabelledDefinition, split: Split) -> Iterator[Document]:
    """The documents of a data set on the hub, streamed, part after part.

    Raises:
        Impossible: it cannot be read.
        RegistryError: it has no such column.
    """
    from datasets import load_dataset

    name = definition.test_split if split == "test" and definition.test_split else definition.train_split
    parts = definition.parts or {None: None}
    try:
        for value, part in parts.items():
            config, column = (part.config, part.text) if part else (definition.config, definition.text)
            rows = load_dataset(str(definition.hub), config, split=name, revision=definition.revision, streaming=True)
            for number, row in enumerate(rows):
                fixed = {} if value is None else {definition.part: value}
                document = _document(row, definition, f"{definition.hub}, row {number}", column, fixed)
                if document is not None:
                    yield document
    except (OSError, ValueError) as error:
        raise Impossible(f"The data set {definition.hub} cannot be read: {error}.") from error


def _document(
    row: Any,
    definition: LabelledDefinition,
    place: str,
    column: str | None = None,
    fixed: Mapping[str, str] | None = None,
) -> Document | None:
    """The document of a row; None where a label is missing or is none of the chosen values."""
    text = _field(row, column or definition.text, place)
    if not isinstance(text, str):
        raise RegistryError(f"{place}: '{column or definition.text}' holds {type(text).__name__}, not text.")
    labels: dict[str, str] = dict(fixed or {})
    for attribute, name in definition.columns.items():
        value = _field(row, name, place)
        chosen = (definition.values or {}).get(attribute)
        if isinstance(value, (dict, list)):
            raise RegistryError(f"{place}: '{name}' holds {type(value).__name__}; a label is a text or a number.")
        shown = value if chosen is None else _named(value, chosen)
        if shown is None or str(shown).strip() == "":
            return None
        labels[attribute] = str(shown)
    return Document(text[definition.skip_characters :].strip(), labels)


def _named(value: Any, chosen: Mapping[str | int | float, str]) -> str | None:
    """The name of a value, which CSV files give as text and suites as text or number; None where it is not chosen."""
    return next((name for known, name in chosen.items() if known == value or str(known) == str(value)), None)


def _field(row: Any, column: str, place: str) -> Any:
    value = row
    for name in column.split("."):
        if not isinstance(value, Mapping) or name not in value:
            found = ", ".join(map(str, row)) if isinstance(row, Mapping) else type(row).__name__
            raise RegistryError(f"{place}: no column '{column}' (found: {found}). Name it with text: or label:.")
        value = value[name]
    return value
