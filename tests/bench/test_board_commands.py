"""`leaderboard` and `plot` by the command line: sections of pages, files of figures, mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from saetransfer.leaderboard import store
from saetransfer.leaderboard.boards.place import begin, end
from tests.bench.command import saetransfer
from tests.leaderboard.examples import grid


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for one in grid():
        store.write(one, tmp_path / "run")
    return tmp_path


def test_a_section_of_a_page_is_replaced_and_the_rest_stays(folder: Path) -> None:
    page = folder / "README.md"
    page.write_text(f"# Mine\n\n{begin('answer')}\nwhat was here\n{end('answer')}\n\ntail\n")
    for _ in range(2):
        assert saetransfer(folder, "leaderboard", "run", "--out", "README.md", "--section", "answer").returncode == 0
        text = page.read_text()
        assert text.startswith("# Mine\n")
        assert text.endswith("\ntail\n")
        assert "what was here" not in text
        assert text.count("Frozen SAEs (") == 1


def test_a_page_of_somebody_elses_is_never_overwritten(folder: Path) -> None:
    (folder / "notes.md").write_text("my notes")
    found = saetransfer(folder, "leaderboard", "run", "--out", "notes.md")
    assert found.returncode == 2
    assert "notes.md: The page must hold" in found.stderr
    assert (folder / "notes.md").read_text() == "my notes"


def test_figures_become_files(folder: Path) -> None:
    assert saetransfer(folder, "plot", "run", "--to", "figures", "--kind", "heatmap").returncode == 0
    assert {file.name for file in (folder / "figures").iterdir()} == {
        "microworld__heatmap.png",
        "microworld__heatmap.svg",
    }


def test_figures_that_cannot_be_drawn_are_a_mistake(folder: Path) -> None:
    found = saetransfer(folder, "plot", "run", "--to", "figures", "--kind", "histogram")
    assert found.returncode == 2
    assert "do not hold what histogram would show" in found.stderr
