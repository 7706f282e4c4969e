"""On which hardware costs were measured: those of different hardware stand apart and are never ranked together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..record import Record
from ..text import printable
from .cells import Cell
from .states import State

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Machines:
    """The hardware of some records, with a letter for each where there are several."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._known = sorted({told for record in records if (told := hardware(record))})

    @property
    def sentence(self) -> str:
        """Which hardware made the records; empty where they do not tell."""
        if len(self._known) < 2:
            return "".join(f"Hardware: {told}." for told in self._known)
        listed = "; ".join(f"{_letter(place)}: {told}" for place, told in enumerate(self._known))
        return f"Costs of different hardware are not comparable and not ranked together. {listed}."

    def key(self, records: Sequence[Record]) -> str | None:
        """What costs of a state are comparable by."""
        return next((told for record in records if (told := hardware(record))), None)

    def of(self, known: Iterable[State]) -> list[str]:
        """The hardware that some states were measured on."""
        return sorted({key for state in known if (key := self.key(state.records)) is not None})

    def marked(self, cell: Cell, records: Sequence[Record]) -> Cell:
        """A cost with the letter of its hardware, where there are several."""
        key = self.key(records)
        if cell.value is None or key is None or len(self._known) < 2:
            return cell
        return cell._replace(text=f"{cell.text} ({_letter(self._known.index(key))})")


def hardware(record: Record) -> str:
    """What decides how fast a cell ran, in words; empty where the record does not tell."""
    environment = record.environment
    processor = environment.get("gpu") or environment.get("cpu")
    if not isinstance(processor, str):
        return ""
    threads = environment.get("threads")
    return printable(processor) + (f", {threads} threads" if isinstance(threads, int) else "")


def _letter(place: int) -> str:
    return _LETTERS[place] if place < len(_LETTERS) else str(place + 1)
