"""What a reader needs beside some tables: the meaning of each heading, and of each mark that occurs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .averages import INCOMPLETE
from .cell_table import VIOLATED
from .cells import Grid
from .figures import share
from .matching import TOLERANCE, UNMATCHED
from .noise import MEANING, NOISE

_MARKS = {
    "±": "half the width of the 95 % interval",
    "bold": "best: of rank 1, and not all share it. Rank is 1 + the number of rivals whose interval lies wholly on "
    "the better side, so figures whose intervals overlap can share a rank",
    INCOMPLETE: "a mean over fewer frozen SAEs than other states have: not ranked",
    UNMATCHED: f"L0 differs by more than {share(TOLERANCE)} from that of the SAE made for the dense model at the same "
    "site and state: not matched, so figures are not comparable at equal sparsity",
    VIOLATED: "a control does not hold for this cell: the notes say which",
    NOISE: MEANING,
}


def meanings(grids: Iterable[Grid]) -> tuple[tuple[str, str], ...]:
    """Each heading that means something once, without its unit and arrow, in the order in which they are read."""
    told: dict[str, str] = {}
    for grid in grids:
        for header in grid.headers:
            if header.meaning:
                told.setdefault(_title(header.text), header.meaning)
    return tuple(told.items())


def marks(grids: Iterable[Grid], notes: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """What each mark means that occurs in the tables or notes."""
    cells = [cell for grid in grids for row in grid.rows for cell in row.cells]
    texts = [cell.text for cell in cells]
    used = {
        "±": any("±" in text for text in texts),
        "bold": any(cell.best for cell in cells),
        INCOMPLETE: any(text.endswith(INCOMPLETE) for text in texts),
        UNMATCHED: any(text.endswith(UNMATCHED) for text in texts),
        VIOLATED: any(text.endswith(VIOLATED) for text in texts),
        NOISE: any(note.startswith(NOISE) for note in notes),
    }
    return tuple((mark, text) for mark, text in _MARKS.items() if used[mark])


def _title(heading: str) -> str:
    return heading.removesuffix(" ↑").removesuffix(" ↓").partition(" (")[0]
