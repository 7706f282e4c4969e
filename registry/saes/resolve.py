"""From what a suite writes to an `SaeEntry`: nothing is loaded, trained or, for folders, imported from SAELens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from ..errors import RegistryError, unknown
from . import finetuned, pretrained, pruned, random, trained
from .cards import CARDS, FOLDER
from .entry import SaeEntry
from .forms import Surroundings, check


def resolve(
    definition: str | Mapping[str, Any],
    *,
    folder: Path,
    named: Mapping[str, SaeEntry],
    config: PretrainedConfig,
    prepend_bos_default: bool = True,
) -> SaeEntry:
    """The entry that a definition means for a model.

    Args:
        definition: the name of an earlier entry or of a card, or a mapping with `name`, `source` and its keys.
        folder: relative paths start here.
        named: entries defined earlier, by name.
        config: of the model whose activations the SAE is to read.
        prepend_bos_default: what holds for SAEs that do not say whether their texts start with BOS.

    Raises:
        RegistryError: anything that a user got wrong.
    """
    around = Surroundings(folder, named, config, prepend_bos_default)
    if isinstance(definition, str):
        return _find(definition, around)
    source = definition.get("source")
    if source is None:
        raise RegistryError(f"SAE '{definition.get('name', '?')}' has no 'source'. Known: {', '.join(_SOURCES)}.")
    if not isinstance(source, str) or source not in _SOURCES:
        raise RegistryError(f"SAE '{definition.get('name', '?')}': {unknown('source', str(source), _SOURCES)}")
    return _SOURCES[source](definition, around)


def _find(name: str, around: Surroundings) -> SaeEntry:
    if name in around.named:
        return around.named[name]
    if name not in CARDS:
        remedy = "A folder is given as {name: ..., source: pretrained, path: ...}; an SAE stands after those it names."
        raise unknown("SAE", name, {*around.named, *CARDS}, remedy)
    card = CARDS.get(name)
    at_home = Surroundings(FOLDER, around.named, around.config, around.prepend_bos_default)
    try:
        return _pretrained(card.definition(), at_home)
    except RegistryError as error:
        raise RegistryError(f"{error} (The card '{name}' is an SAE of {card.model}.)") from error


def _pretrained(definition: Mapping[str, Any], around: Surroundings) -> SaeEntry:
    return pretrained.entry(check(pretrained.PretrainedForm, definition), around)


def _trained(definition: Mapping[str, Any], around: Surroundings) -> SaeEntry:
    form = check(trained.TrainedForm, definition)
    return trained.entry(form, around, None if form.like is None else _find(form.like, around))


def _finetuned(definition: Mapping[str, Any], around: Surroundings) -> SaeEntry:
    form = check(finetuned.FinetunedForm, definition)
    return finetuned.entry(form, _find(form.base, around))


def _pruned(definition: Mapping[str, Any], around: Surroundings) -> SaeEntry:
    form = check(pruned.PrunedForm, definition)
    return pruned.entry(form, _find(form.base, around))


def _random(definition: Mapping[str, Any], around: Surroundings) -> SaeEntry:
    form = check(random.RandomForm, definition)
    return random.entry(form, _find(form.like, around))


_SOURCES: dict[str, Callable[[Mapping[str, Any], Surroundings], SaeEntry]] = {
    "pretrained": _pretrained,
    "trained": _trained,
    "finetuned": _finetuned,
    "pruned": _pruned,
    "random": _random,
}
"""One line a source."""
