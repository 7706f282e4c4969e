"""States and SAEs as a board tells them apart, and by which names."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..record import Record, canonical_json
from ..text import printable

SOURCES = ("pretrained", "trained", "finetuned", "pruned", "random")
_ID_LENGTH = 6


@dataclass(frozen=True)
class State:
    """One state of a comparable group, with all its cells."""

    name: str
    records: tuple[Record, ...]

    @property
    def is_dense(self) -> bool:
        """Whether it is the model as it was."""
        return is_dense(self.records[0])

    @property
    def frozen(self) -> tuple[Record, ...]:
        """The cells of SAEs that were made for the dense model."""
        return tuple(record for record in self.records if is_frozen(record))


def is_dense(record: Record) -> bool:
    """Whether the cell's state is the model as it was."""
    return not record.spec.compressor


def is_frozen(record: Record) -> bool:
    """Whether the SAE was made for the dense model: a pretrained one, or one trained on the dense state."""
    source = record.labels.sae_source
    return source == "pretrained" or (source == "trained" and record.spec.sae.get("on") == "dense")


def is_random(record: Record) -> bool:
    """Whether the SAE is the negative control."""
    return record.labels.sae_source == "random"


def source_place(record: Record) -> tuple[bool, int]:
    """Sorts frozen SAEs first, then the other sources."""
    source = record.labels.sae_source
    return not is_frozen(record), SOURCES.index(source) if source in SOURCES else len(SOURCES)


def state_key(record: Record) -> str:
    """What a state is, within a comparable group."""
    return canonical_json([record.spec.compressor, record.spec.calibration])


def sae_title(record: Record) -> str:
    """Name and source of an SAE entry."""
    name, source = printable(record.labels.sae), printable(record.labels.sae_source)
    if source == "trained" and is_frozen(record):
        source = "trained on dense"
    return name if name == source else f"{name} ({source})"


def states(records: Iterable[Record]) -> list[State]:
    """The states of a comparable group: dense first, then by name."""
    divided: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        divided[state_key(record)].append(record)
    name_state = state_namer([record for known in divided.values() for record in known])
    found = [State(name_state(known[0]), tuple(known)) for known in divided.values()]
    return sorted(found, key=lambda state: (not state.is_dense, state.name))


def state_namer(records: Iterable[Record]) -> Callable[[Record], str]:
    """Names of these records' states; different states of one name get the start of a hash of what they are."""
    known = list(records)
    # Spelling a state out takes a while, and names are asked for in many places: once a record is enough.
    spelled = {id(record): state_key(record) for record in known}
    chosen: dict[str, str] = {}
    for record in known:
        key = spelled[id(record)]
        # Two suites may call one state by two names: the first in the alphabet stands.
        chosen[key] = min(chosen.get(key, record.labels.compressor), record.labels.compressor)
    uses = Counter(chosen.values())

    def name(record: Record) -> str:
        key = spelled[id(record)]
        suffix = f" #{hashlib.sha256(key.encode()).hexdigest()[:_ID_LENGTH]}" if uses[chosen[key]] > 1 else ""
        return printable(chosen[key]) + suffix

    return name


def sae_namer(records: Iterable[Record]) -> Callable[[Record], str]:
    """Names of SAEs without their source; with the site where one name stands at several."""
    sites: dict[str, set[str]] = defaultdict(set)
    for record in records:
        sites[record.labels.sae].add(record.spec.site)

    def name(record: Record) -> str:
        site = f" at {printable(record.spec.site)}" if len(sites[record.labels.sae]) > 1 else ""
        return printable(record.labels.sae) + site

    return name


def row_namer(records: Iterable[Record]) -> Callable[[Record], str]:
    """Names of states for rows of SAEs; cells that differ although all their names agree get the start of their id."""
    known = list(records)
    name_state = state_namer(known)
    uses = Counter(_names(record, name_state) for record in known)

    def name(record: Record) -> str:
        suffix = f" #{record.cell_id[:_ID_LENGTH]}" if uses[_names(record, name_state)] > 1 else ""
        return name_state(record) + suffix

    return name


def _names(record: Record, name_state: Callable[[Record], str]) -> tuple[str, str, str]:
    return sae_title(record), record.spec.site, name_state(record)
