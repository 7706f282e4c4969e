"""What `saetransfer try` prints fits the terminal, and says why there are no figures."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from saetransfer.bench.commands.try_report import show
from saetransfer.leaderboard.record import Failure, Record
from saetransfer.registry.compressors.shelf import cards
from tests.leaderboard.examples import record


def shown(own: Record, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    others = [record(), record("magnitude-50", gap=0.0312)]
    show(own, others, cards()["wanda-60"].compressor(), "wanda-60", console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 94, 95, 100, 114, 115, 200])
@pytest.mark.parametrize("name", ["wanda-60", "a-name-that-is-longer-than-all-others"])
def test_no_figure_is_cut_whatever_the_width(width: int, name: str) -> None:
    output = shown(record(name, gap=0.0001), width)
    assert max(map(len, output.splitlines())) <= width
    assert "…" not in output
    for figure in ("27 %", "0.250", "±0.010", "0.8913", "0.0001", "±0.0040", "31.80"):
        assert figure in output


def test_what_cannot_run_here_says_what_is_missing() -> None:
    missing = Failure(phase="load", type="Impossible", message="install it with `pip install x`")
    output = shown(record("wanda-60", error=missing, status="skipped"))
    assert "wanda-60 cannot run here: install it with `pip install x`" in output
    assert "costs the model" not in output
