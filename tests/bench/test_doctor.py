"""`saetransfer doctor`: what a bug report needs, and an exit code that tells whether something is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from saetransfer.bench.commands import doctor_command, installed
from saetransfer.bench.commands.self_test import SelfTest, self_test
from saetransfer.registry import hub
from tests.bench.command import saetransfer


@pytest.fixture
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """No self-test and no look for the hub: both take seconds."""
    monkeypatch.setattr(doctor_command, "self_test", lambda device: SelfTest(1.5, None))
    monkeypatch.setattr(hub, "is_reachable", lambda: False)


def test_the_self_test_measures_and_finds_nothing_wrong() -> None:
    tested = self_test("cpu")
    assert tested.problem is None
    assert tested.seconds > 0


@pytest.mark.usefixtures("well")
def test_the_report_for_people_and_for_bug_reports(tmp_path: Path) -> None:
    shown = saetransfer(tmp_path, "doctor")
    assert shown.returncode == 0
    for said in ("torch 2.", "GiB of disk", "extra torchao", "self-test", "passed in 1.5 s"):
        assert said in shown.stdout
    report = json.loads(saetransfer(tmp_path, "doctor", "--json").stdout)
    assert report["problems"] == []
    assert report["packages"]["numpy"]
    assert str(Path.home()) not in json.dumps(report)


@pytest.mark.usefixtures("well")
def test_what_does_not_work_is_told_with_exit_code_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_command, "self_test", lambda device: SelfTest(1.0, "the dense state differs"))
    monkeypatch.setattr(installed, "version", lambda name: "0.1")
    shown = saetransfer(tmp_path, "doctor")
    assert shown.returncode == 3
    assert "problem: self-test: the dense state differs" in shown.stdout
    assert "problem: torch 0.1: torch>=2.6 is needed" in shown.stdout


def test_every_extra_for_users_says_what_it_adds() -> None:
    found: list[Any] = installed.extras()
    assert {extra.name for extra in found} <= set(installed.ADDS)
    assert "torchao" in {extra.name for extra in found}
    assert not {"test", "dev"} & {extra.name for extra in found}
