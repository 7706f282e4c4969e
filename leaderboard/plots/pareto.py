"""Size or latency against what compression does to SAEs, with the Pareto front drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..boards.board import ModelBoard
from ..boards.pareto import Front
from ..boards.ranking import Point
from ..boards.states import State
from .labels import label
from .style import COLOURS, GREY, errors, figure

_COLUMNS, _PANEL_HEIGHT = 3, 2.7


def draw(model: ModelBoard, _known: Sequence[State]) -> Figure | None:
    """One panel for each pair of figures; None where no two compressed states have one."""
    if not model.fronts:
        return None
    columns = min(_COLUMNS, len(model.fronts))
    rows = math.ceil(len(model.fronts) / columns)
    made, panels = figure(rows, columns, _PANEL_HEIGHT * rows)
    drawn = list(panels.flat)
    for axes, front in zip(drawn, model.fronts, strict=False):
        _panel(axes, front)
    handles, what = drawn[0].get_legend_handles_labels()
    made.legend(handles, what, loc="outside lower center", ncols=2)
    for axes in drawn[len(model.fronts) :]:
        axes.set_axis_off()
    made.suptitle(f"{model.title}: Pareto fronts of compressed states", fontsize=9)
    for axes, front in zip(drawn, model.fronts, strict=False):
        xs, ys = zip(*map(_spot, front.points), strict=True)
        label(made, axes, [point.name for point in front.points], xs, ys)
    return made


def _panel(axes: Axes, front: Front) -> None:
    for on_front, colour, what in ((False, GREY, "behind"), (True, COLOURS[0], "on the front")):
        points = [point for point in front.points if point.on_front is on_front]
        if points:
            xs, ys = zip(*map(_spot, points), strict=True)
            axes.errorbar(
                xs,
                ys,
                yerr=errors([point.y for point in points]),
                fmt="o",
                color=colour,
                mfc=colour if on_front else "white",
                elinewidth=0.8,
                label=what,
            )
    line = sorted(_spot(point) for point in front.points if point.on_front)
    axes.step(*zip(*line, strict=True), where="post", color=COLOURS[0], linewidth=0.9, alpha=0.5, zorder=1)
    axes.margins(0.16, 0.18)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(_title(front.x.text, front.hardware))
    axes.set_ylabel(front.y.text)


def _spot(point: Point) -> tuple[float, float]:
    return point.x.value or 0.0, point.y.value or 0.0


def _title(heading: str, hardware: str | None) -> str:
    heading = heading.replace("size ↓", "size, share of dense ↓")
    return f"{heading}, on {hardware}" if hardware else heading
