"""Frozen, native, finetuned and pruned SAEs on each state, side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..boards.board import ModelBoard
from ..boards.columns import SPLICED, cell_of
from ..boards.states import State, is_random, sae_title, source_place
from ..record import Record
from ..text import printable
from .style import COLOURS, errors, figure, logarithmic, named, values

_PANEL_HEIGHT, _GROUP_WIDTH = 2.5, 0.84
_LOGARITHMIC_FROM = 100.0
"""Ratio of the largest to the smallest bar from which on the axis is logarithmic."""


def draw(model: ModelBoard, known: Sequence[State]) -> Figure | None:
    """A panel for each site; None where there are no SAEs to compare."""
    if model.saes is None:
        return None
    by_site: dict[str, list[tuple[State, Record]]] = defaultdict(list)
    for state in known:
        for record in state.records:
            if not is_random(record) and cell_of(record.metrics.get(SPLICED)).value is not None:
                by_site[record.spec.site].append((state, record))
    sites = [site for site in sorted(by_site) if len({sae_title(record) for _, record in by_site[site]}) > 1]
    if not sites:
        return None
    made, panels = figure(len(sites), 1, _PANEL_HEIGHT * len(sites) + 0.4)
    for axes, site in zip(panels.flat, sites, strict=True):
        _panel(axes, by_site[site])
        axes.set_title(printable(site), pad=18)
    made.suptitle(f"{model.title}: what each SAE costs the state that it is put into", fontsize=9)
    return made


def _panel(axes: Axes, cells: Sequence[tuple[State, Record]]) -> None:
    states = list(dict.fromkeys(state.name for state, _ in cells))
    places = {sae_title(record): source_place(record) for _, record in cells}
    saes = sorted(places, key=lambda sae: (places[sae], sae))
    width = _GROUP_WIDTH / len(saes)
    for place, sae in enumerate(saes):
        found = {state.name: cell_of(record.metrics[SPLICED]) for state, record in cells if sae_title(record) == sae}
        at = [states.index(name) - _GROUP_WIDTH / 2 + (place + 0.5) * width for name in found]
        axes.bar(
            at,
            values(found.values()),
            0.92 * width,
            yerr=errors(list(found.values())),
            color=COLOURS[place % len(COLOURS)],
            error_kw={"elinewidth": 0.7, "ecolor": "#444444"},
            label=named(sae),
        )
    heights = np.array([cell_of(record.metrics[SPLICED]).value for _, record in cells])
    if heights.min() > 0 and heights.max() / heights.min() > _LOGARITHMIC_FROM:
        logarithmic(axes)
    axes.set_xticks(range(len(states)), [named(name) for name in states], rotation=0 if len(states) < 8 else 40)
    for text in axes.get_xticklabels() if len(states) >= 8 else ():
        text.set_horizontalalignment("right")
    axes.set_ylabel("splice CE increase (nats) ↓")
    axes.grid(visible=False, axis="x")
    axes.legend(ncols=min(4, len(saes)), loc="lower center", bbox_to_anchor=(0.5, 1.0))
