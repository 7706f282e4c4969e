"""Which SAEs a cell is compared with: the frozen one that it comes from, and the frozen one at the same site."""

from __future__ import annotations

from collections.abc import Iterable

from .entry import SaeEntry


def is_frozen(entry: SaeEntry) -> bool:
    """Whether an SAE is the same on every state, and no control: pretrained, or trained on the dense model."""
    return entry.source == "pretrained" or (entry.source == "trained" and entry.on == "dense")


def ancestors(entry: SaeEntry) -> list[SaeEntry]:
    """An SAE and those that it is made from."""
    return [entry, *(ancestors(entry.base) if entry.base is not None else [])]


def origin(entry: SaeEntry) -> SaeEntry | str:
    """The SAE whose latents this one's are, one by one; or why there is none.

    Itself where every state has the same one, otherwise the one that it was pruned or finetuned from.
    """
    if is_frozen(entry) or entry.source == "random":
        return entry
    if entry.source == "trained" or entry.base is None:
        return (
            f"'{entry.name}' is trained on each state: its latents are not those of any SAE of the dense model, so "
            "they cannot be compared one by one"
        )
    return origin(entry.base)


def counterpart(entry: SaeEntry, entries: Iterable[SaeEntry]) -> SaeEntry | str:
    """The first frozen SAE at the same site, to compare dictionaries with; or why there is none.

    An SAE that was made from a frozen one has its latents: they are compared one by one, and need no counterpart.
    """
    source = origin(entry)
    if not isinstance(source, str) and source.name != entry.name:
        return f"its latents are those of '{source.name}', one by one: see how many survived"
    found = next((other for other in entries if is_frozen(other) and other.site == entry.site), None)
    if found is None:
        return f"the suite has no frozen SAE at {entry.site.name} to compare with"
    if found.name == entry.name:
        return "this is the frozen SAE that the others at its site are compared with"
    return found
