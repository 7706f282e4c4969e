"""Labelled texts: documents with the values of attributes, for probes.

A set has training and test documents: two files or splits where it comes so, otherwise one in five documents, by a hash
of its text, is for testing. A test document that also stands in the training split is left out. Files may be sorted by
label, so their documents are shuffled (seeded) before some are taken; streams from the hub are read from the start
until every chosen value has its share.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from .errors import Impossible, RegistryError, unknown
from .files import content_hash
from .labelled_rows import Document, LabelledDefinition, Split, of_file, of_hub
from .microworld.language import ATTRIBUTES, LANGUAGE_VERSION, stories
from .mistakes import explain

ENDINGS = (".jsonl", ".csv")

_TEST_ONE_IN = 5
_MICROWORLD = "microworld"
_MICROWORLD_SPURIOUS = (("mood", "gender"), ("topic", "number"))
_MOST_READ = 50
"""Rows of a hub data set read at most for each one wanted."""


@dataclass(frozen=True)
class Labelled:
    """A labelled text that has been found."""

    name: str
    definition: LabelledDefinition
    attributes: tuple[str, ...]
    """To be probed."""
    spurious: tuple[tuple[str, str], ...]
    files: Mapping[Split, Path]
    content: dict[str, Any]
    """What identifies the content."""

    @property
    def identity(self) -> dict[str, Any]:
        """What enters the cell id."""
        return {**self.content, "attributes": list(self.attributes), "spurious": [list(pair) for pair in self.spurious]}

    def documents(self) -> dict[Split, list[Document]]:
        """The chosen training and test documents; none of the latter is among the former.

        Raises:
            RegistryError: a file that cannot be read, or has no such column.
            Impossible: a data set that cannot be had here.
        """
        train, test = self._read("train"), self._read("test")
        known = {document.text for document in train}
        return {"train": train, "test": [document for document in test if document.text not in known]}

    def _read(self, split: Split) -> list[Document]:
        wanted = self.definition.train_examples if split == "train" else self.definition.test_examples
        if self.definition.card == _MICROWORLD:
            told = stories("training" if split == "train" else "evaluation")
            return [Document(story.text, story.attributes) for story, _ in zip(told, range(wanted), strict=False)]
        if self.files:
            found = (
                document for document in of_file(self.files[split], self.definition) if self._is_in(document, split)
            )
            return _drawn(found, wanted)
        return self._stream(split, wanted)

    def _is_in(self, document: Document, split: Split) -> bool:
        """Where both splits come from one file: whether the document is of that one."""
        divided = (
            self.files.get("train") == self.files.get("test") if self.files else self.definition.test_split is None
        )
        return not divided or (_is_for_testing(document.text) == (split == "test"))

    def _stream(self, split: Split, wanted: int) -> list[Document]:
        definition = self.definition
        if definition.missing is not None:
            raise Impossible(f"The labelled text '{self.name}' cannot be had: {definition.missing}.")
        values = len(definition.parts or next(iter((definition.values or {"": {"": ""}}).values())))
        share, taken, found = -(-wanted // values), Counter[str](), []
        for number, document in enumerate(of_hub(definition, split)):
            first = next(iter(document.labels.values()))
            if taken[first] < share and self._is_in(document, split):
                taken[first] += 1
                found.append(document)
            if len(found) >= wanted or number > _MOST_READ * wanted:
                break
        return found


def cards() -> dict[str, LabelledDefinition]:
    """The labelled texts that the registry knows, by name, beside the microworld."""
    text = (resources.files(__name__.rpartition(".")[0]) / "labelled.yaml").read_text(encoding="utf-8")
    return {name: LabelledDefinition(name=name, **card) for name, card in yaml.safe_load(text).items()}


def resolve(definition: str | Mapping[str, Any], folder: Path) -> Labelled:
    """The labelled text that a suite names: a card, a file, or a mapping.

    Raises:
        RegistryError: an unknown name or attribute, a missing file, an unknown format.
    """
    if isinstance(definition, str):
        if "/" in definition or definition.endswith(ENDINGS):
            return resolve({"path": definition}, folder)
        return resolve({"card": definition}, folder)
    try:
        parsed = LabelledDefinition(**definition)
    except ValidationError as error:
        raise RegistryError("Labelled text: " + explain(error, LabelledDefinition, definition)) from None
    if parsed.card is None:
        return _found(parsed, folder)
    if parsed.card == _MICROWORLD:
        return _microworld(parsed)
    known = cards()
    if parsed.card not in known:
        raise unknown("labelled text", parsed.card, [*known, _MICROWORLD], "A file of your own: {path: FILE.jsonl}.")
    chosen = parsed.model_dump(exclude_unset=True, exclude={"card"})
    return _found(known[parsed.card].model_copy(update=chosen), folder)


def _microworld(definition: LabelledDefinition) -> Labelled:
    known = tuple(ATTRIBUTES)
    attributes = tuple(definition.attributes or known)
    default = [pair for pair in _MICROWORLD_SPURIOUS if set(pair) <= set(attributes)]
    spurious = tuple(default if definition.spurious is None else definition.spurious)
    _check_attributes("microworld", attributes, spurious, known)
    limits = {"train": definition.train_examples, "test": definition.test_examples}
    content = {_MICROWORLD: LANGUAGE_VERSION, **limits}
    return Labelled(definition.name or _MICROWORLD, definition, attributes, spurious, {}, content)


def _found(definition: LabelledDefinition, folder: Path) -> Labelled:
    name = definition.name or (Path(definition.path).stem if definition.path else Path(str(definition.hub)).name)
    known = tuple(definition.columns) + ((definition.part,) if definition.parts else ())
    attributes = tuple(definition.attributes or known)
    spurious = tuple(definition.spurious or ())
    _check_attributes(name, attributes, spurious, known)
    content = definition.model_dump(
        mode="json", exclude={"name", "path", "test", "attributes", "spurious", "missing", "summary", "card"}
    )
    if definition.path is None:
        return Labelled(name, definition, attributes, spurious, {}, content)
    train = _file(name, folder, definition.path)
    test = train if definition.test is None else _file(name, folder, definition.test)
    content |= {"train_file": content_hash(train), "test_file": content_hash(test)}
    return Labelled(name, definition, attributes, spurious, {"train": train, "test": test}, content)


def _check_attributes(
    name: str, attributes: tuple[str, ...], spurious: tuple[tuple[str, str], ...], known: tuple[str, ...]
) -> None:
    for attribute in [*attributes, *(attribute for pair in spurious for attribute in pair)]:
        if attribute not in known:
            raise RegistryError(f"Labelled text '{name}': {unknown('attribute', attribute, known)}")
    if len(set(attributes)) < len(attributes) or len(set(spurious)) < len(spurious):
        raise RegistryError(f"Labelled text '{name}': an attribute or a pair of them is there twice; name it once.")
    for target, other in spurious:
        if target == other:
            raise RegistryError(
                f"Labelled text '{name}': '{target}' cannot be spurious of itself; name two attributes."
            )


def _file(name: str, folder: Path, path: str) -> Path:
    file = (folder / path).resolve()
    if not file.is_file():
        raise RegistryError(f"Labelled text '{name}': there is no file {file}.")
    if file.suffix not in ENDINGS:
        raise RegistryError(f"Labelled text '{name}': unknown ending '{file.suffix}'. Allowed: {', '.join(ENDINGS)}.")
    return file


def check(labelled: Labelled) -> None:
    """Read a local file once, so that mistakes in it show before anything is run.

    Raises:
        RegistryError: it cannot be read, has no such column, no document, or one value only of an attribute.
    """
    if not labelled.files:
        return
    documents = labelled.documents()
    for split, found in documents.items():
        if not found:
            raise RegistryError(
                f"Labelled text '{labelled.name}' has no document for its {split} split. Left out are those without "
                "a label (or with one that 'values' does not name), and test documents that are training documents "
                "too: give more, or other ones."
            )
    for attribute in labelled.attributes:
        values = {document.labels[attribute] for document in documents["train"] if attribute in document.labels}
        if len(values) < 2:
            raise RegistryError(
                f"Labelled text '{labelled.name}': attribute '{attribute}' has {len(values)} value(s) among the "
                f"training documents ({', '.join(sorted(values)) or 'none'}); a probe needs at least 2 to tell apart."
            )


def _drawn(documents: Iterable[Document], wanted: int) -> list[Document]:
    """Some documents in a random order that follows from their number; no more than these are ever in memory."""
    source = random.Random(0)
    keyed = ((source.random(), number, document) for number, document in enumerate(documents))
    return [document for *_, document in heapq.nsmallest(wanted, keyed)]


def _is_for_testing(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] % _TEST_ONE_IN == 0
