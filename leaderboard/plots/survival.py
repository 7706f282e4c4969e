"""How many features of frozen SAEs survive, against bits a weight or the share of zeros."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..boards.board import ModelBoard
from ..boards.cells import Cell
from ..boards.columns import SURVIVED, cell_of
from ..boards.facts import compression
from ..boards.states import State, sae_namer
from ..record import Record
from ..text import printable
from .style import COLOURS, MARKERS, errors, figure, named, values

_HEIGHT = 3.0


@dataclass(frozen=True)
class _Point:
    sae: str
    method: str
    strength: float
    survived: Cell


def draw(model: ModelBoard, known: Sequence[State]) -> Figure | None:
    """A panel for rounding and one for pruning, as far as there are such states; None where survival is not known."""
    cells = [record for state in known if not state.is_dense for record in state.frozen if record.status == "ok"]
    pruned = [record for record in cells if _prunes(record)]
    rounded = [record for record in cells if not _prunes(record)]
    name = sae_namer(cells)
    panels = [
        ("effective bits a weight", _points(rounded, name, "effective_bits"), True),
        ("share of zeros", _points(pruned, name, "sparsity"), False),
    ]
    panels = [panel for panel in panels if panel[1]]
    if not panels:
        return None
    saes = sorted({point.sae for _, points, _ in panels for point in points})
    methods = sorted({point.method for _, points, _ in panels for point in points})
    made, axes = figure(1, len(panels), _HEIGHT)
    for place, (title, points, is_bits) in enumerate(panels):
        _panel(axes[0, place], points, saes, methods)
        axes[0, place].set_xlabel(f"{title} (more compressed to the right)")
        axes[0, place].set_ylabel("features survived ↑" if place == 0 else "")
        if is_bits:
            axes[0, place].invert_xaxis()
    made.suptitle(f"{model.title}: survival of the features of frozen SAEs", fontsize=9)
    return made


def _points(cells: Sequence[Record], name: Callable[[Record], str], strength: str) -> list[_Point]:
    found = []
    for record in cells:
        survived, at = cell_of(record.metrics.get(SURVIVED)), compression(record, strength)
        if survived.value is not None and at is not None:
            found.append(_Point(name(record), _method(record), at, survived))
    return found


def _panel(axes: Axes, points: Sequence[_Point], saes: Sequence[str], methods: Sequence[str]) -> None:
    lines: dict[tuple[str, str], list[_Point]] = defaultdict(list)
    for point in points:
        lines[point.sae, point.method].append(point)
    for (sae, method), found in sorted(lines.items()):
        ordered = sorted(found, key=lambda point: point.strength)
        cells = [point.survived for point in ordered]
        axes.errorbar(
            [point.strength for point in ordered],
            values(cells),
            yerr=errors(cells),
            color=COLOURS[saes.index(sae) % len(COLOURS)],
            marker=MARKERS[methods.index(method) % len(MARKERS)],
            linestyle="-" if len(ordered) > 1 else "",
            label=f"{named(sae)}, {named(method)}",
        )
    axes.axhline(1.0, color="black", linewidth=0.6, linestyle=":")
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.legend(loc="best")


def _method(record: Record) -> str:
    return " + ".join(printable(str(step.get("method", "?"))) for step in record.spec.compressor)


def _prunes(record: Record) -> bool:
    """Whether a state is one step that was asked for a share of zeros."""
    steps = record.spec.compressor
    params = steps[0].get("params") if len(steps) == 1 else None
    return isinstance(params, dict) and "sparsity" in params
