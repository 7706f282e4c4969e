"""States made elsewhere, through the whole command line: records, log files, exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from saetransfer.leaderboard import store
from saetransfer.leaderboard.record import Record
from tests.bench.command import saetransfer
from tests.bench.world import write_suite
from tests.registry.compressors.external.common import HALVE, pruned_checkpoint
from tests.toys import toy_model


def records(world: Path) -> dict[str, Record]:
    found = store.read_all([world / "out"])
    assert not found.problems
    return {record.labels.compressor: record for record in found.records}


def tool(text: str, world: Path, name: str = "tool", **more: Any) -> dict[str, Any]:
    (world / f"{name}.py").write_text(text)
    return {"name": name, "method": "command", "command": [sys.executable, f"{name}.py", "{model}", "{out}"], **more}


def run(world: Path, *compressors: Any) -> Any:
    saes = [{"name": "frozen", "source": "pretrained", "path": "sae"}]
    write_suite(world, compressors=["dense", *compressors], saes=saes)
    return saetransfer(world, "run", "suite.yaml", "--out", "out")


def test_a_checkpoint_and_a_command_that_do_the_same_have_the_same_figures(world: Path) -> None:
    pruned_checkpoint(toy_model("llama"), world / "made")
    finished = run(world, tool(HALVE, world), {"name": "made", "method": "checkpoint", "path": "made"})
    assert finished.returncode == 0, finished.stdout + finished.stderr
    found = records(world)
    assert {record.status for record in found.values()} == {"ok"}
    assert found["tool"].compression is not None and found["tool"].compression["verified"]
    assert found["tool"].metrics == found["made"].metrics
    assert found["tool"].cell_id != found["made"].cell_id
    assert "compress" in [phase.name for phase in found["tool"].phases]
    assert "halved" in (world / "out" / "logs" / "toy__tool.log").read_text()
    assert str(world) not in json.dumps([record.spec.model_dump() for record in found.values()])
    (world / "made").rename(world / "moved")
    again = run(world, tool(HALVE, world), {"name": "made", "method": "checkpoint", "path": "moved"})
    assert again.returncode == 0
    assert {name: record.created_at for name, record in records(world).items()} == {
        name: record.created_at for name, record in found.items()
    }, "a checkpoint that lies elsewhere, and a command that is the same, are the same state"


def test_a_command_that_fails_is_a_failed_record_and_exit_code_3(world: Path) -> None:
    bad = tool("print('no such scheme'); raise SystemExit(7)", world, "bad")
    slow = tool("import time; print('begun', flush=True); time.sleep(600)", world, "slow", timeout_seconds=1)
    finished = run(world, bad, slow)
    assert finished.returncode == 3, finished.stdout + finished.stderr
    found = records(world)
    assert found["dense"].status == "ok"
    for name, said in (("bad", "exit code 7"), ("slow", "more than 1 s")):
        error = found[name].error
        assert found[name].status == "failed" and error is not None
        assert (error.phase, error.type) == ("compress", "CommandFailed")
        assert said in error.message
    assert "no such scheme" in found["bad"].error.message  # type: ignore[union-attr]
    assert "no such scheme" in (world / "out" / "logs" / "toy__bad.log").read_text()
    assert "begun" in (world / "out" / "logs" / "toy__slow.log").read_text()
    assert not list((world / "cache").rglob("saetransfer-command-*"))


def test_a_checkpoint_that_is_not_there_is_exit_code_2(world: Path) -> None:
    finished = run(world, {"name": "made", "method": "checkpoint", "path": "nowhere"})
    assert finished.returncode == 2
    assert "suite.yaml" in finished.stderr and "there is no folder" in finished.stderr
