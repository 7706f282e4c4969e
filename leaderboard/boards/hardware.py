"""On which hardware costs were measured: those that cannot be compared stand apart and are never ranked together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ..costs import conditions
from ..record import Record
from ..text import printable
from .cells import Cell

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_USED = {"device": "on {}", "threads": "{} threads used", "jobs": "{} states at a time"}


class Machines:
    """The conditions under which some records were measured, with a letter for each where there are several."""

    def __init__(self, records: Iterable[Record]) -> None:
        known: dict[str, str] = {}
        self._uses: Counter[str] = Counter()
        for record in records:
            if (key := conditions(record)) is not None:
                known.setdefault(key, _described(record))
                self._uses[key] += 1
        self._known = sorted(known.items(), key=lambda item: (item[1], item[0]))

    @property
    def sentence(self) -> str:
        """Where the records were made; empty where they do not tell."""
        if len(self._known) < 2:
            return "".join(f"Hardware: {told}." for _, told in self._known)
        listed = "; ".join(f"{_letter(place)}: {told}" for place, (_, told) in enumerate(self._known))
        return f"Costs of different hardware, use or settings are not comparable, and not ranked together: {listed}."

    @property
    def keys(self) -> list[str]:
        """All conditions, those of most records first."""
        return sorted((key for key, _ in self._known), key=lambda key: (-self._uses[key], key))

    def told(self, key: str) -> str:
        """Conditions in words, or by their letter where there are several."""
        place = [known for known, _ in self._known].index(key)
        return _letter(place) if len(self._known) > 1 else self._known[place][1]

    def usual(self, records: Sequence[Record]) -> tuple[str | None, list[Record]]:
        """Of the conditions under which a state was measured the most usual ones, with its records of them."""
        divided: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            if (key := conditions(record)) is not None:
                divided[key].append(record)
        chosen = next((key for key in self.keys if key in divided), None)
        return chosen, divided[chosen] if chosen is not None else []

    def marked(self, cell: Cell, key: str | None) -> Cell:
        """A cost with the letter of its conditions, where there are several."""
        if cell.value is None or key is None or len(self._known) < 2:
            return cell
        return cell._replace(text=f"{cell.text} ({self.told(key)})")


def _described(record: Record) -> str:
    hardware = record.hardware
    used = [
        words.format(printable(str(value)))
        for name, words in _USED.items()
        if (value := record.environment.get(name)) is not None
    ]
    return ", ".join([printable(hardware.text) if hardware is not None else "", *used])


def _letter(place: int) -> str:
    return _LETTERS[place] if place < len(_LETTERS) else str(place + 1)
