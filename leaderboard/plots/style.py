"""How figures look, and how they become files: the same records give the same bytes.

Needs matplotlib (`pip install 'saetransfer[plot]'`). Text is never read as mathematics: a `$` in a name stays one.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from ..boards.cells import Cell
from ..boards.ranking import bounds
from ..text import shortened

Format = Literal["svg", "png"]
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Told apart by the colour-blind (Okabe and Ito 2008), without yellow, which is hard to see on white."""
MARKERS = "osD^vPX<>*"
GREY = "#8c8c8c"
WIDTH_INCHES = 7.0
"""Of a page of a paper in one column."""
PNG_DPI = 200
_NAME_LENGTH = 36
_SETTINGS: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "errorbar.capsize": 2.0,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.0,
    "svg.hashsalt": "saetransfer",
    "text.parse_math": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}


def settings() -> Any:
    """The context in which figures are drawn and written."""
    return matplotlib.rc_context({**matplotlib.rcParamsDefault, **_SETTINGS})


def figure(rows: int, columns: int, height_inches: float, width_inches: float = WIDTH_INCHES) -> tuple[Figure, Any]:
    """An empty figure, and its axes as an array of rows and columns; no window is opened."""
    made = Figure(figsize=(width_inches, height_inches), layout="constrained")
    return made, made.subplots(rows, columns, squeeze=False)


def written(made: Figure, form: Format, dpi: int = PNG_DPI) -> bytes:
    """A figure as a file, without a date or anything else of this run."""
    stream = io.BytesIO()
    with settings():
        empty = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
        made.savefig(stream, format=form, dpi=dpi, metadata=empty)
    return stream.getvalue()


def errors(cells: Sequence[Cell]) -> list[list[float]]:
    """Lengths of the error bars below and above each value."""
    found = [(cell.value or 0.0, bounds(cell)) for cell in cells]
    # An interval that is centred on its draws may leave its value out by a hair.
    return [[max(0.0, v - low) for v, (low, _) in found], [max(0.0, high - v) for v, (_, high) in found]]


def values(cells: Iterable[Cell]) -> list[float]:
    """The values of cells that have them."""
    return [cell.value for cell in cells if cell.value is not None]


def logarithmic(axes: Axes) -> None:
    """A logarithmic axis of y whose ticks are plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def named(text: str) -> str:
    """A name, short enough for a figure."""
    return shortened(text, _NAME_LENGTH)
