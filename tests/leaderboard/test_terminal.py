"""The terminal shows the same board, in the room there is."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from saetransfer.leaderboard.boards import board, terminal
from saetransfer.leaderboard.record import Labels
from tests.leaderboard.examples import DEFINITIONS, grid, record


def shown(width: int, records: list | None = None) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None)
    terminal.show(board.build(grid() if records is None else records, DEFINITIONS), console)
    return stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_it_fits(width: int) -> None:
    assert max(map(len, shown(width).splitlines())) <= min(width, terminal.WIDTH)


def test_figures_stay_whole_and_failures_visible() -> None:
    text = shown(100)
    for expected in ("0.0312 ± 0.0040", "failed (compress)", "out of memory", "Missing from the grid", "rtn-int5"):
        assert expected in text


def test_columns_of_least_importance_go_first() -> None:
    assert "L0" in shown(120)
    assert "L0" not in shown(60)
    assert "0.0312 ± 0.0040" in shown(60)


def test_long_names_leave_room_for_figures() -> None:
    labels = Labels(suite="s", model="m", compressor="c" * 70, sae="s" * 70, sae_source="random", text="t")
    text = shown(100, [record(labels=labels)])
    assert "0.8913" in text
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("c") >= 70


def test_names_are_no_markup() -> None:
    labels = Labels(suite="s", model="[red]m", compressor="[bold]c[/bold]", sae="s", sae_source="random", text="t")
    text = shown(100, [record(labels=labels)])
    assert "[red]m" in text
    assert "[bold]c[/bold]" in text


def test_no_records_are_told() -> None:
    assert shown(80, []) == "No records.\n"
