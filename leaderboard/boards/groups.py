"""Which cells may stand in one table: those of one model, one text and one version of every task that is shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..record import Record, canonical_json
from ..text import brief, printable


@dataclass(frozen=True)
class ComparableRecords:
    """Records whose figures may be compared with each other."""

    title: str
    """The model."""
    facts: str
    """Text, tokens, context and seed."""
    identity: Mapping[str, Any]
    """All that the records have in common and that others lack, by dotted name."""
    records: tuple[Record, ...]


def comparable(records: Iterable[Record], tasks: Sequence[str]) -> list[ComparableRecords]:
    """Records divided into groups that are comparable in what those tasks measure."""
    divided: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        divided[canonical_json(_identity(record, tasks))].append(record)
    groups = [_described(divided[key], tasks) for key in sorted(divided)]
    return sorted(groups, key=lambda group: (group.title, group.facts))


def differences(group: ComparableRecords, others: Iterable[ComparableRecords]) -> list[str]:
    """Where a group differs from those of the same title, each as `name value`."""
    rivals = [other for other in others if other.title == group.title]
    names = sorted({name for rival in rivals for name in rival.identity})
    mine = group.identity
    return [
        f"{printable(name)} {brief(mine.get(name))}"
        for name in names
        if any(rival.identity.get(name) != mine.get(name) for rival in rivals)
    ]


def _identity(record: Record, tasks: Sequence[str]) -> dict[str, Any]:
    spec = record.spec
    shown = {name: spec.tasks[name] for name in tasks if name in spec.tasks}
    return {"model": spec.model, "data": spec.data, "tasks": shown, "seed": spec.seed}


def _described(records: list[Record], tasks: Sequence[str]) -> ComparableRecords:
    identity = _identity(records[0], tasks)
    title = " / ".join(sorted({printable(record.labels.model) for record in records}))
    facts = ["text " + " / ".join(sorted({brief(record.labels.text, 40) for record in records}))]
    for name, unit in (("tokens", "{:,} tokens"), ("context", "context {:,}")):
        value = identity["data"].get(name)
        if isinstance(value, int):
            facts.append(unit.format(value))
    facts.append(f"seed {identity['seed']}")
    return ComparableRecords(title, ", ".join(facts), _flat(identity), tuple(records))


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            leaves.update(_flat(item, f"{prefix}{key}."))
        else:
            leaves[f"{prefix}{key}"] = item
    return leaves
