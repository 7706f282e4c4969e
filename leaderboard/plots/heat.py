"""Compressors x SAEs: transfer gap and survival of every cell at a glance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm, Normalize
from matplotlib.figure import Figure

from ..boards.board import ModelBoard
from ..boards.cells import Cell
from ..boards.columns import GAP, SURVIVED, cell_of
from ..boards.figures import number
from ..boards.states import State, is_random, sae_namer, source_place
from ..record import Record
from .style import figure, named

_ROW_HEIGHT, _FRAME_HEIGHT = 0.24, 2.0
_QUANTITIES = {GAP: "transfer gap (nats) ↓", SURVIVED: "features survived ↑"}


def draw(model: ModelBoard, known: Sequence[State]) -> Figure | None:
    """A panel for each of the two figures that is known; None where neither is."""
    compressed = [state for state in known if not state.is_dense]
    cells = [record for state in compressed for record in state.records if not is_random(record)]
    shown = {
        metric: title
        for metric, title in _QUANTITIES.items()
        if any(cell_of(record.metrics.get(metric)).value is not None for record in cells)
    }
    if not shown:
        return None
    name = sae_namer(cells)
    saes = sorted({_column(record, name) for record in cells})
    made, panels = figure(1, len(shown), _FRAME_HEIGHT + _ROW_HEIGHT * len(compressed))
    for axes, (metric, title) in zip(panels.flat, shown.items(), strict=True):
        _panel(axes, compressed, saes, metric, name)
        axes.set_title(title)
    for axes in panels.flat[1:]:
        axes.set_yticklabels([])
    made.suptitle(f"{model.title}: every SAE on every compressed state", fontsize=9)
    return made


def _panel(
    axes: Axes, compressed: Sequence[State], saes: Sequence[tuple], metric: str, name: Callable[[Record], str]
) -> None:
    found: dict[tuple[int, int], Cell | str] = {}
    for row, state in enumerate(compressed):
        for record in state.records:
            if not is_random(record):
                cell = cell_of(record.metrics.get(metric))
                found[row, saes.index(_column(record, name))] = cell if record.status == "ok" else record.status
    values = np.full((len(compressed), len(saes)), np.nan)
    for place, cell in found.items():
        if isinstance(cell, Cell) and cell.value is not None:
            values[place] = cell.value
    norm = CenteredNorm(halfrange=float(np.nanmax(np.abs(values))) or 1.0) if metric == GAP else Normalize(0.0, 1.0)
    colours = "RdBu_r" if metric == GAP else "viridis"
    axes.set_facecolor("#f0f0f0")
    axes.imshow(values, cmap=colours, norm=norm, aspect="auto")
    for (row, column), cell in found.items():
        axes.text(
            column, row, _text(cell), ha="center", va="center", fontsize=6.5, color=_ink(values[row, column], norm)
        )
    axes.set_xticks(range(len(saes)), [named(sae[2]) for sae in saes], rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(compressed)), [named(state.name) for state in compressed])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _column(record: Record, name: Callable[[Record], str]) -> tuple[bool, int, str]:
    return *source_place(record), name(record)


def _text(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return cell
    return "–" if cell.value is None else number(cell.value, 2)


def _ink(value: float, norm: Normalize) -> str:
    """Black or white, whichever is read on the colour of that value."""
    if np.isnan(value):
        return "black"
    place = float(norm(value))
    if isinstance(norm, CenteredNorm):
        return "white" if abs(place - 0.5) > 0.35 else "black"
    return "white" if place < 0.6 else "black"
