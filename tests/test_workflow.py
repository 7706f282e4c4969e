"""The workflow that others call: minimal permissions, pinned actions, options that the commands have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from saetransfer.bench.cli import app
from saetransfer.leaderboard.gate.summary import MARK

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "saetransfer.yml"
CI = ROOT / ".github" / "workflows" / "ci.yml"


@pytest.fixture(scope="module")
def workflow() -> dict[Any, Any]:
    return yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_actions_are_pinned_to_a_commit_and_are_githubs_own(workflow: dict[Any, Any]) -> None:
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action)


def test_nothing_that_a_caller_says_is_pasted_into_a_script(workflow: dict[Any, Any]) -> None:
    for step in steps(workflow):
        assert "${{" not in step.get("run", "")


def test_only_the_job_that_runs_no_code_of_the_repository_may_write(workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"] == {}
    gate, comment = workflow["jobs"]["gate"], workflow["jobs"]["comment"]
    assert gate["permissions"] == {"contents": "read"}
    assert comment["permissions"] == {"pull-requests": "write"}
    assert not any("checkout" in step.get("uses", "") for step in comment["steps"])
    assert "saetransfer run" not in str(comment)


def test_the_commands_have_the_options_that_the_workflow_gives(workflow: dict[Any, Any]) -> None:
    commands: dict[str, Any] = getattr(get_command(app), "commands")  # noqa: B009 - typer's own group
    scripts = "\n".join(step.get("run", "") for step in steps(workflow)).replace("\\\n", " ")
    calls = re.findall(r"^\s*saetransfer (\w+) (.*)$", scripts, re.MULTILINE)
    assert [name for name, _ in calls] == ["run", "compare"]
    for name, line in calls:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", line)) <= known


def test_the_comment_is_found_again_by_its_first_line() -> None:
    assert '"' not in MARK
    assert "head -n 1" in WORKFLOW.read_text(encoding="utf-8")


def test_the_project_uses_it_on_itself_with_inputs_that_it_has(workflow: dict[Any, Any]) -> None:
    job = yaml.safe_load(CI.read_text(encoding="utf-8"))["jobs"]["gate"]
    inputs = workflow[True]["workflow_call"]["inputs"]  # YAML 1.1 reads `on` as true
    assert job["uses"] == "./.github/workflows/saetransfer.yml"
    assert set(job["with"]) <= set(inputs)
    assert list((ROOT / job["with"]["baseline"]).glob("cells/*.json"))
