"""The mark of a finished run: it counts as long as nothing that decides about cells has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saetransfer.bench.planning import plan, suite
from saetransfer.bench.planning.suite import SuiteFile
from saetransfer.bench.running import finished
from saetransfer.leaderboard import store
from saetransfer.leaderboard.boards.columns import Definition
from tests.bench.command import saetransfer
from tests.bench.world import write_suite
from tests.leaderboard.examples import record

DEFINITIONS = {"perplexity.transfer_gap": Definition("nats", False, "what it costs")}


def source(world: Path, *overrides: str, **changes: Any) -> SuiteFile:
    return suite.load(str(write_suite(world, **changes)), overrides)


def marked(world: Path, *overrides: str, **changes: Any) -> Path:
    """A folder with two records and the mark."""
    out = world / "out"
    records = [record("dense", "frozen"), record("rtn-3", "frozen")]
    for one in records:
        store.write(one, out)
    finished.mark(out, source(world, *overrides, **changes), None, records, DEFINITIONS)
    return out


def test_a_finished_run_is_found_with_all_that_its_board_needs(world: Path) -> None:
    out = marked(world)
    found = finished.find(out, source(world), None)
    assert found is not None
    assert [one.labels.compressor for one in found.records] == ["dense", "rtn-3"]
    assert found.definitions == DEFINITIONS


def lose_a_record(world: Path) -> None:
    next((world / "out" / "cells").glob("*rtn-3*")).unlink()


def cut_a_record(world: Path) -> None:
    next((world / "out" / "cells").glob("*rtn-3*")).write_text("{", encoding="utf-8")


def cut_the_mark(world: Path) -> None:
    file = world / "out" / "finished.json"
    file.write_text(file.read_text(encoding="utf-8")[:40], encoding="utf-8")


def change_the_text(world: Path) -> None:
    text = (world / "stories.txt").read_text(encoding="utf-8")
    (world / "stories.txt").unlink()
    (world / "stories.txt").write_text(text + "\n\nw1 w2", encoding="utf-8")


@pytest.mark.parametrize("change", [lose_a_record, cut_a_record, cut_the_mark, change_the_text])
def test_whatever_has_changed_is_planned_again(world: Path, change: Callable[[Path], None]) -> None:
    out = marked(world)
    change(world)
    assert finished.find(out, source(world), None) is None


def test_another_command_is_planned(world: Path) -> None:
    out = marked(world)
    assert finished.find(out, source(world), "frozen") is None
    assert finished.find(out, source(world, "seed=1"), None) is None
    assert finished.find(out, source(world, compressors=["dense"]), None) is None


def test_a_branch_of_the_hub_may_move_and_leaves_no_mark(world: Path) -> None:
    moving = {"name": "m", "hub": "someone/model"}
    assert not (marked(world, models=[moving]) / "finished.json").exists()
    assert (marked(world, models=[{**moving, "revision": 40 * "a"}]) / "finished.json").exists()


def test_the_command_line_ends_without_planning(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marked(world)

    def planned(_source: SuiteFile) -> None:
        raise AssertionError("nothing has changed")

    monkeypatch.setattr(plan, "make", planned)
    ended = saetransfer(world, "run", "suite.yaml", "--out", "out")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 cells: 2 ok (2 were there before)" in ended.stdout
