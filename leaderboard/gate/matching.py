"""Which record of one set belongs to which of another: by what they measure, never by the name of a file.

Four rules, one after the other, each for what the earlier ones have left over:

1. the same model, compressor, SAE, site, text and seed, to the hash, in a suite of the same name
2. the same in any suite
3. the same names, at the same site, on the same text, with the same tokenizer and seed: what is under test (weights,
   a compressor's code) has changed, and may be compared
4. the same names alone: the text, site or seed has changed, and nothing may be compared
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..record import Record, canonical_json
from ..text import brief


@dataclass(frozen=True)
class Pair:
    """One cell in both sets, or in one of them."""

    base: Record | None
    new: Record | None
    differences: tuple[str, ...] = ()
    """What else has changed between the two, each as `name: old -> new`."""
    comparable: bool = True
    """Whether figures of both may be compared."""

    @property
    def known(self) -> Record:
        """The newer of the two that is there."""
        found = self.new or self.base
        if found is None:
            raise ValueError("a pair needs a record")
        return found


def match(base: Iterable[Record], new: Iterable[Record]) -> list[Pair]:
    """Every record of both sets, in a pair or alone, in the order of their names."""
    old, fresh = list(base), list(new)
    pairs: list[Pair] = []
    for key, comparable in ((_in_suite, True), (_content, True), (_measured, True), (_names, False)):
        found = _matches(key, old, fresh)
        pairs += [Pair(one, other, _differences(one, other), comparable) for one, other in found]
        taken = {id(record) for both in found for record in both}
        old, fresh = ([record for record in left if id(record) not in taken] for left in (old, fresh))
    pairs += [Pair(one, None) for one in old] + [Pair(None, other) for other in fresh]
    return sorted(pairs, key=lambda pair: (_names(pair.known), pair.known.spec.site, pair.known.cell_id))


def _matches(
    key: Callable[[Record], str], base: Sequence[Record], new: Sequence[Record]
) -> list[tuple[Record, Record]]:
    """Pairs of the same key; of several records with one key, as many as there are on both sides."""
    rivals: dict[str, list[Record]] = defaultdict(list)
    for record in new:
        rivals[key(record)].append(record)
    return [(record, rivals[key(record)].pop(0)) for record in base if rivals[key(record)]]


def _in_suite(record: Record) -> str:
    return canonical_json([record.labels.suite, _content(record)])


def _content(record: Record) -> str:
    """All but the tasks: those are compared one by one."""
    content = {name: value for name, value in record.spec.model_dump(mode="json").items() if name != "tasks"}
    return canonical_json(content)


def _measured(record: Record) -> str:
    spec = record.spec
    # Another tokenizer cuts the same text into other documents.
    return canonical_json([_names(record), spec.site, spec.data, spec.seed, spec.model.get("tokenizer")])


def _names(record: Record) -> str:
    return canonical_json([record.labels.model, record.labels.compressor, record.labels.sae])


def _differences(base: Record, new: Record) -> tuple[str, ...]:
    old, fresh = (_leaves(record.spec.model_dump(mode="json", exclude={"tasks"})) for record in (base, new))
    names = sorted(old.keys() | fresh.keys())
    return tuple(
        f"{name}: {brief(old.get(name))} -> {brief(fresh.get(name))}"
        for name in names
        if old.get(name) != fresh.get(name)
    )


def _leaves(value: Any, name: str = "") -> dict[str, Any]:
    """What stands at the ends of nested content, by dotted name."""
    if isinstance(value, dict):
        parts = [(f"{name}.{key}" if name else key, item) for key, item in value.items()]
    elif isinstance(value, list):
        parts = [(f"{name}.{index}", item) for index, item in enumerate(value)]
    else:
        return {name: value}
    return {place: leaf for part, item in parts for place, leaf in _leaves(item, part).items()}
