"""How noisy the figures of a table are: how far two halves of the text lie apart.

Records hold the figure on two disjoint halves of the text (`halves`). Where each half has twice the variance of the
whole, their difference has twice its standard deviation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..record import Record
from .columns import COLUMNS, Column
from .figures import number
from .states import is_dense

NOISE = "Noise"
MEANING = (
    "the figure on one half of the text minus that on the other, without sign, the largest of all cells but those of "
    "random SAEs; over the whole text figures are about half as noisy, so a difference between two rows that is not "
    "clearly larger than half of it may be noise"
)
_PRIMARY = 2
"""Priority up to which the noise of a column is told."""
_DIGITS = 2


def noise(records: Iterable[Record]) -> list[str]:
    """One sentence on the primary columns; none where no record has halves."""
    real = [record for record in records if record.labels.sae_source != "random"]
    told = [told for column in COLUMNS if column.priority <= _PRIMARY and (told := _of_column(column, real))]
    return [f"{NOISE}, from one half of the text to the other: {'; '.join(told)}."] if told else []


def _of_column(column: Column, records: Sequence[Record]) -> str:
    """`title up to 0.01 on dense, up to 0.02 on compressed states`; empty where nothing is known."""
    places = {
        "on dense": [record for record in records if is_dense(record)],
        "on compressed states": [record for record in records if not is_dense(record)],
    }
    largest = {place: max(found) for place, cells in places.items() if (found := list(_apart(column, cells)))}
    told = [f"{'up to ' if value else ''}{number(value, _DIGITS)} {place}" for place, value in largest.items()]
    return f"{column.title} {', '.join(told)}" if told else ""


def _apart(column: Column, records: Iterable[Record]) -> Iterator[float]:
    for record in records:
        measurement = record.metrics.get(column.metric or "")
        if measurement is not None and measurement.halves is not None:
            first, second = measurement.halves
            yield abs(first - second)
