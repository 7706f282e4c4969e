"""The correlation of every latent with itself on the dense model: how many survive, blur, are damaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..boards.board import ModelBoard
from ..boards.cells import Cell
from ..boards.columns import SURVIVED, cell_of
from ..boards.damage import correlations, thresholds
from ..boards.states import State, sae_namer
from .style import COLOURS, figure, logarithmic, named

MOST_STATES = 10
"""Rows that a page holds; of more states those with the lowest mean correlation are shown."""
_ROW_HEIGHT = 0.85
_EDGES = np.arange(-100.5, 102.5, 2.0) / 100
"""Records hold whole percents: edges lie between them."""
_GRADES = (("damaged", COLOURS[1]), ("blurred", COLOURS[4]), ("survived", COLOURS[0]))


@dataclass(frozen=True, eq=False)
class _Latents:
    """What a record tells of an SAE's latents."""

    percents: Float[np.ndarray, " latent"]
    damaged_below: float
    survived_above: float
    survived: Cell


def draw(model: ModelBoard, known: Sequence[State]) -> Figure | None:
    """A row for each compressed state, a column for each frozen SAE; None where no record tells of latents."""
    cells = [(state.name, record) for state in known if not state.is_dense for record in state.frozen]
    name_sae = sae_namer(record for _, record in cells)
    found = {
        (state, name_sae(record)): _Latents(percents, *limits, cell_of(record.metrics.get(SURVIVED)))
        for state, record in cells
        if (percents := correlations(record)) is not None and (limits := thresholds(record)) is not None
    }
    if not found:
        return None
    saes = sorted({sae for _, sae in found})
    means = {
        name: float(np.mean([np.nanmean(latents.percents) for (state, _), latents in found.items() if state == name]))
        for name in {name for name, _ in found}
    }
    states = sorted(means, key=lambda name: (means[name], name))[:MOST_STATES][::-1]
    made, panels = figure(len(states), len(saes), _ROW_HEIGHT * len(states) + 1.0)
    for row, state in enumerate(states):
        for column, sae in enumerate(saes):
            _panel(panels[row, column], found.get((state, sae)))
            if column == 0:
                panels[row, 0].set_ylabel(named(state), rotation=0, ha="right", va="center")
            if row < len(states) - 1:
                panels[row, column].set_xticklabels([])
    for column, sae in enumerate(saes):
        panels[0, column].set_title(named(sae))
    left_out = f", the {MOST_STATES} most damaged states" if len(means) > MOST_STATES else ""
    made.suptitle(f"{model.title}: survival of latents{left_out}", fontsize=9)
    made.supxlabel("correlation r of a latent on the state with itself on dense; number of latents upwards", fontsize=8)
    handles = [Patch(color=colour, label=grade) for grade, colour in _GRADES]
    panels[0, 0].legend(handles=handles, loc="center left")
    return made


def _panel(axes: Axes, latents: _Latents | None) -> None:
    axes.set_xlim(-0.25, 1.03)
    if latents is None:
        axes.set_axis_off()
        return
    r = latents.percents[~np.isnan(latents.percents)] / 100
    below, above = latents.damaged_below, latents.survived_above
    grades = (r < below, (r >= below) & (r <= above), r > above)
    colours = [colour for _, colour in _GRADES]
    axes.hist([r[grade] for grade in grades], bins=_EDGES.tolist(), color=colours, stacked=True)
    logarithmic(axes)
    axes.set_ylim(bottom=0.7)
    axes.tick_params(axis="y", which="both", labelsize=5.5)
    if latents.survived.value is not None:
        told = f"{100 * latents.survived.value:.1f} % survived"
        axes.text(0.02, 0.9, told, transform=axes.transAxes, fontsize=6.5, va="top")
    for limit in (below, above):
        axes.axvline(limit, color="black", linewidth=0.5, linestyle=":")
