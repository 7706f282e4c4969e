"""What a run would do: `saetransfer run --dry-run`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ...registry.saes import lineage
from ...registry.saes.notes import notes
from ..planning.grid import Plan, StatePlan
from ..running.known_times import estimate
from ..running.places import Layout, Place
from ..running.todo import Todo
from .names import shared

_MOST_ROWS = 100
"""States that are listed one by one."""


@dataclass(frozen=True)
class PlanTable:
    """Shows one plan."""

    plan: Plan
    work: Todo
    folder: Path
    """Where the records go."""
    console: Console

    def show(self, place: Place, layout: Layout, cache: Path) -> None:
        """States with their cells, what each costs in tokens, and what is known of its time."""
        plan, work = self.plan, self.work
        n_cells = sum(len(state.cells) for state in plan.states)
        self.console.print(f"Suite {plan.suite.name}: {len(plan.states)} states, {n_cells} cells", style="bold")
        self._show_states()
        n_sites = len({(cell.labels.model, cell.sae.site) for cells in work.cells.values() for cell in cells})
        n_states = len(work.cells)
        self._say(
            f"To do: {work.n_cells} cells ({work.done} are done) on {plan.suite.data.tokens:,} tokens each: {n_states} "
            f"passes of a model, {work.n_cells} replays for SAEs, at most {2 * n_sites * n_states} for ablations. "
            f"Records: {self.folder}"
        )
        if work.n_cells:
            self._show_estimate(place, layout, cache)
        self._show_notes()
        for state in self._states_to_do():
            if shortage := place.shortage(state, layout):
                self._say(f"{state.name} would be skipped. {shortage}")

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)

    def _states_to_do(self) -> list[StatePlan]:
        return [state for state in self.plan.states if state.name in self.work.cells]

    def _show_states(self) -> None:
        columns = ("state", "cells", "to do", "calibration", "SAEs to train (tokens)")
        table = Table(*columns, box=None, pad_edge=False)
        for state in self.plan.states[:_MOST_ROWS]:
            table.add_row(*self._row(state))
        self.console.print(table)
        if (left := len(self.plan.states) - _MOST_ROWS) > 0:
            self._say(f"... and {left:,} more states")

    def _row(self, state: StatePlan) -> tuple[str, ...]:
        open_cells = self.work.cells.get(state.name, [])
        trained = [
            (ancestor.name, getattr(ancestor.params, "tokens", 0))
            for cell in open_cells
            for ancestor in lineage.ancestors(cell.sae)
            if ancestor.reads == "training" and (ancestor.depends_on_state or state.is_dense)
        ]
        sequences = self.plan.suite.data.calibration.sequences
        calibration = f"{sequences} sequences" if state.compressor.needs_calibration else "-"
        training = ", ".join(f"{names} ({tokens:,})" for names, tokens in shared(trained)) or "-"
        return state.name, str(len(state.cells)), str(len(open_cells)), calibration, training

    def _show_estimate(self, place: Place, layout: Layout, cache: Path) -> None:
        todo = [(state, len(self.work.cells[state.name])) for state in self._states_to_do()]
        found = estimate(cache, self.plan, todo, place.device)
        if found is None:
            self._say("Expected time: not known, since no state of these models has run here yet.")
            return
        unknown = f"; {found.n_unknown} states of models that have not are not counted" if found.n_unknown else ""
        self._say(
            f"Expected: about {_duration(found.seconds / layout.slots)} with {layout.slots} states at a time, "
            f"{found.peak_rss_bytes / 1e9:.1f} GB of memory for the largest, by what states of these models took here "
            f"before{unknown}."
        )

    def _show_notes(self) -> None:
        context = self.plan.suite.data.context
        cells = [cell for state in self.plan.dense_states for cell in state.cells]
        said = ((cell.labels.sae, note) for cell in cells for note in notes(cell.sae, context, cell.prepend_bos))
        for names, note in shared(said):
            self._say(f"SAE {names}: {note}.")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h {minutes % 60} min"
