"""All kinds of figures, and the files that they become."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ..boards.board import ModelBoard, build, distinct
from ..boards.columns import TASKS, Definition
from ..boards.groups import comparable
from ..boards.states import State, states
from ..record import Record
from ..store import slug
from . import bars, heat, histogram, pareto, survival
from .style import settings, written

KINDS: dict[str, Callable[[ModelBoard, Sequence[State]], Figure | None]] = {
    "pareto": pareto.draw,
    "survival": survival.draw,
    "bars": bars.draw,
    "heatmap": heat.draw,
    "histogram": histogram.draw,
}
"""Name -> what draws it; None where the records do not hold what it shows."""


def figures(
    records: Iterable[Record], definitions: Mapping[str, Definition], kinds: Sequence[str] = tuple(KINDS)
) -> Iterator[tuple[str, Figure]]:
    """Each figure that can be drawn, by the name of its file without its ending."""
    cells = distinct(records)
    used: Counter[str] = Counter()
    for model, group in zip(build(cells, definitions).models, comparable(cells, TASKS), strict=True):
        name = slug(model.title)
        used[name] += 1
        stem = name if used[name] == 1 else f"{name}-{used[name]}"
        for kind in kinds:
            with settings():
                made = KINDS[kind](model, states(group.records))
            if made is not None:
                yield f"{stem}__{kind}", made


def write(
    records: Iterable[Record], definitions: Mapping[str, Definition], folder: Path, kinds: Sequence[str] = tuple(KINDS)
) -> list[Path]:
    """Write each figure as SVG and PNG; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, made in figures(records, definitions, kinds):
        for form in ("svg", "png"):
            files.append(folder / f"{name}.{form}")
            files[-1].write_bytes(written(made, form))
    return files
