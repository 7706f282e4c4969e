"""Names beside points, placed so that they cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from .style import GREY, named

_PLACES = (
    (5, 4, "left", "bottom"),
    (-5, 4, "right", "bottom"),
    (5, -4, "left", "top"),
    (-5, -4, "right", "top"),
    (0, 11, "center", "bottom"),
    (0, -11, "center", "top"),
    (5, 14, "left", "bottom"),
    (-5, 14, "right", "bottom"),
    (5, -14, "left", "top"),
    (-5, -14, "right", "top"),
)
"""Offsets in points, tried in this order."""
_POINT = 5.0
"""Pixels around a point that a name keeps away from."""


def label(made: Figure, axes: Axes, names: Sequence[str], xs: Sequence[float], ys: Sequence[float]) -> None:
    """Write a name beside each point; where there is no free place for it, it is left out."""
    canvas = FigureCanvasAgg(made)
    canvas.draw()
    renderer = canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    spots = axes.transData.transform(list(zip(xs, ys, strict=True)))
    taken = [Bbox.from_extents(x - _POINT, y - _POINT, x + _POINT, y + _POINT) for x, y in spots]
    for place, name in sorted(enumerate(names), key=lambda item: (-ys[item[0]], item[1])):
        others = taken[:place] + taken[place + 1 :]
        for x, y, horizontal, vertical in _PLACES:
            text = axes.annotate(
                named(name),
                (xs[place], ys[place]),
                (x, y),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=6.5,
                color="#333333",
                arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.4} if abs(y) > 10 else None,
            )
            # The box of the words alone, without the line that leads to them.
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in others):
                taken.append(box)
                break
            text.remove()
