"""`saetransfer leaderboard --html`, alone and beside Markdown."""

from __future__ import annotations

from pathlib import Path

from saetransfer.leaderboard import store
from tests.bench.command import saetransfer
from tests.leaderboard.examples import grid


def test_the_page_is_written_alone_or_with_markdown_and_is_the_same(tmp_path: Path) -> None:
    for record in grid():
        store.write(record, tmp_path / "out")
    assert saetransfer(tmp_path, "leaderboard", "out", "--html", "a/board.html").returncode == 0
    assert not (tmp_path / "LEADERBOARD.md").exists()
    both = saetransfer(tmp_path, "leaderboard", "out", "--html", "b.html", "--out", "b.md")
    assert both.returncode == 0
    assert (tmp_path / "b.md").exists()
    assert (tmp_path / "a" / "board.html").read_bytes() == (tmp_path / "b.html").read_bytes()
