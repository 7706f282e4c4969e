"""The project's own board follows from the records beside it, byte for byte: `make board` makes it anew."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from saetransfer.bench.measuring.definitions import definitions
from saetransfer.leaderboard import store
from saetransfer.leaderboard.boards import board, markdown, place
from saetransfer.leaderboard.page import page
from saetransfer.leaderboard.record import Record

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / "leaderboard"
SUITES = {"demo", "survival-demo", "transfer", "compressors"}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    found = store.read_all([OWN / "records"])
    assert not found.problems
    return found.records


def test_it_holds_the_suites_of_the_microworld(records: list[Record]) -> None:
    assert {record.labels.suite for record in records} == SUITES
    assert {record.status for record in records} == {"ok"}


def test_the_markdown_is_that_of_the_records(records: list[Record]) -> None:
    text = (OWN / "LEADERBOARD.md").read_text(encoding="utf-8")
    built = markdown.to_markdown(board.build(list(reversed(records)), definitions()))
    assert place.framed(markdown.BOARD, built) + "\n" == text


def test_the_page_is_that_of_the_records(records: list[Record]) -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    for package in ("plotly", "itables"):
        if (installed := metadata.version(package)) != pinned[package]:
            pytest.skip(f"the page holds {package} {pinned[package]}, and {installed} is installed")
    built = page.render(list(reversed(records)), definitions())
    assert built == (OWN / "index.html").read_text(encoding="utf-8")
