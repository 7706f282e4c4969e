"""The whole command line, in processes of its own: runs, resumes, kills, exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from saetransfer.bench.running.todo import GAP
from saetransfer.leaderboard import store
from saetransfer.leaderboard.record import Failure, Record
from tests.bench.command import saetransfer
from tests.bench.world import make_world, write_suite

SAETRANSFER = [str(Path(sys.executable).parent / "saetransfer")]


def records(world: Path, out: str = "out") -> dict[str, Record]:
    found = store.read_all([world / out])
    assert not found.problems
    return {f"{record.labels.compressor}/{record.labels.sae}": record for record in found.records}


def contents(world: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((world / "out" / "cells").glob("*.json"))}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A world in which a small suite has been run, and what the run printed."""
    folder = make_world(tmp_path_factory.mktemp("finished"), "gpt2")
    write_suite(folder, compressors=["dense", "wanda-50", "rtn-3"])
    run = saetransfer(folder, "run", "suite.yaml", "--out", "out", "--jobs", "2")
    assert run.returncode == 0, run.stdout + run.stderr
    return folder, run.stdout


def test_a_run_ends_with_a_record_for_every_cell_and_the_board(finished: tuple[Path, str]) -> None:
    world, output = finished
    found = records(world)
    assert len(found) == 6
    assert {record.status for record in found.values()} == {"ok"}
    assert "6 cells: 6 ok" in output
    assert "wanda-50" in output
    assert "transfer gap" in output


def test_dense_is_exact_and_a_random_sae_is_worse_than_none_of_its_kind(finished: tuple[Path, str]) -> None:
    found = records(finished[0])
    for sae in ("frozen", "random"):
        figure = found[f"dense/{sae}"].metrics["perplexity.transfer_gap"]
        assert (figure.value, figure.ci) == (0.0, (0.0, 0.0))


def test_a_second_run_does_nothing(finished: tuple[Path, str]) -> None:
    world, _ = finished
    before = contents(world)
    again = saetransfer(world, "run", "suite.yaml", "--out", "out")
    assert again.returncode == 0
    assert "6 were there before" in again.stdout
    assert contents(world) == before


def test_a_missing_record_is_made_again_and_nothing_else(finished: tuple[Path, str]) -> None:
    world, _ = finished
    before = contents(world)
    lost = next(name for name in before if "rtn-3__random" in name)
    (world / "out" / "cells" / lost).unlink()
    assert saetransfer(world, "run", "suite.yaml", "--out", "out").returncode == 0
    after = contents(world)
    assert {name for name in before if before[name] != after[name]} <= {lost}
    old, new = (json.loads(text) for text in (before[lost], after[lost]))
    assert (old["cell_id"], old["metrics"], old["per_document"]) == (
        new["cell_id"],
        new["metrics"],
        new["per_document"],
    )


def test_an_empty_cache_costs_time_and_changes_nothing(finished: tuple[Path, str]) -> None:
    world, _ = finished
    before = contents(world)
    lost = next(name for name in before if "wanda-50__frozen" in name)
    (world / "out" / "cells" / lost).unlink()
    (world / "cache").rename(world / "old-cache")
    assert saetransfer(world, "run", "suite.yaml", "--out", "out").returncode == 0
    assert json.loads(before[lost])["metrics"] == json.loads(contents(world)[lost])["metrics"]


def test_a_board_is_the_same_bytes_wherever_it_is_made(finished: tuple[Path, str]) -> None:
    world, _ = finished
    for name in ("a.md", "b.md"):
        assert saetransfer(world, "leaderboard", "out", "--out", name).returncode == 0
    board = (world / "a.md").read_text(encoding="utf-8")
    assert board == (world / "b.md").read_text(encoding="utf-8")
    assert "rtn-3" in board


def test_one_cell_can_be_shown(finished: tuple[Path, str]) -> None:
    world, _ = finished
    path = next((world / "out" / "cells").glob("*wanda-50__frozen*"))
    shown = saetransfer(world, "show", str(path))
    assert shown.returncode == 0
    assert "perplexity.transfer_gap" in shown.stdout
    assert "50.0% zeros" in shown.stdout


USERS = """
import os, signal
def breaks(model, calibration): raise KeyError("no such layer")
def dies(model, calibration): os.kill(os.getpid(), signal.SIGKILL)
def hangs(model, calibration):
    import time; time.sleep(600)
"""


def test_failed_cells_are_records_and_exit_code_3(world: Path) -> None:
    (world / "mine.py").write_text(USERS, encoding="utf-8")
    own = [{"name": name, "method": f"mine.py:{name}"} for name in ("breaks", "dies")]
    write_suite(world, compressors=["dense", *own, "magnitude-50"])
    run = saetransfer(world, "run", "suite.yaml", "--out", "out")
    assert run.returncode == 3, run.stdout + run.stderr
    found = records(world)
    assert found["magnitude-50/frozen"].status == "ok"
    for name, said in (("breaks", "no such layer"), ("dies", "signal 9")):
        error = found[f"{name}/frozen"].error
        assert error is not None
        assert said in error.message
        assert error.phase == "compress"
    assert "4 failed" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr


def test_a_failed_cell_is_tried_again_only_when_asked(world: Path) -> None:
    (world / "mine.py").write_text("def f(model, calibration): raise ValueError('once')", encoding="utf-8")
    write_suite(world, compressors=["dense", {"name": "f", "method": "mine.py:f"}])
    assert saetransfer(world, "run", "suite.yaml", "--out", "out").returncode == 3
    before = contents(world)
    assert saetransfer(world, "run", "suite.yaml", "--out", "out").returncode == 3
    assert contents(world) == before
    time.sleep(1.1)  # records tell the time in whole seconds
    assert saetransfer(world, "run", "suite.yaml", "--out", "out", "--rerun", "failed").returncode == 3
    assert contents(world) != before


@pytest.mark.slow
def test_workers_do_not_outlive_their_driver(world: Path) -> None:
    (world / "mine.py").write_text(USERS, encoding="utf-8")
    write_suite(world, compressors=["dense", {"name": "hangs", "method": "mine.py:hangs"}])
    environment = {**os.environ, "SAETRANSFER_CACHE": str(world / "cache"), "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(
        [*SAETRANSFER, "run", "suite.yaml", "--out", "out"],
        cwd=world,
        env=environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(list((world / "out" / "cells").glob("*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _living(run.pid):
        time.sleep(0.05)
    assert not _living(run.pid)


def _living(session: int) -> list[int]:
    """Processes of that session that run; a dead one that nobody has waited for yet does not."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def test_a_dense_cell_that_is_mended_mends_what_is_compared_with_it(world: Path) -> None:
    write_suite(world)
    assert saetransfer(world, "run", "suite.yaml", "--out", "out").returncode == 0
    for record in records(world).values():
        if record.labels.sae == "frozen":
            place = store.cell_path(world / "out", record.labels, record.cell_id)
            if record.labels.compressor == "dense":
                failure = Failure(phase="measure", type="Lost", message="lost")
                store.write(
                    record.model_copy(update={"status": "failed", "error": failure, "per_document": {}}), world / "out"
                )
            else:
                place.unlink()
    assert saetransfer(world, "run", "suite.yaml", "--out", "out").returncode == 3
    assert records(world)["magnitude-50/frozen"].metrics[GAP].value is None
    assert saetransfer(world, "run", "suite.yaml", "--out", "out", "--rerun", "failed").returncode == 0
    assert records(world)["magnitude-50/frozen"].metrics[GAP].value is not None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "demp"), "Did you mean 'demo'?"),
        (("run", "suite.yaml", "--only", "nothing"), "Cells are called MODEL/COMPRESSOR/SAE"),
        (("run", "suite.yaml", "--set", "data.tokenz=3"), "Did you mean 'tokens'?"),
        (("run", "suite.yaml", "--device", "gpu"), "no such device"),
        (("leaderboard", "nowhere"), "no such folder"),
        (("show", "suite.yaml"), "suite.yaml"),
    ],
)
def test_a_users_mistake_is_exit_code_2_one_message_and_nothing_written(
    world: Path, arguments: tuple[str, ...], said: str
) -> None:
    write_suite(world)
    before = sorted(world.iterdir())
    run = saetransfer(world, *arguments)
    assert run.returncode == 2, run.stdout + run.stderr
    assert said in run.stderr
    assert "Traceback" not in run.stderr
    assert sorted(world.iterdir()) == before


def test_a_dry_run_prints_the_plan_and_writes_nothing(world: Path) -> None:
    write_suite(world, compressors=["dense", "wanda-50"])
    before = sorted(world.iterdir())
    run = saetransfer(world, "run", "suite.yaml", "--dry-run")
    assert run.returncode == 0
    assert "toy/wanda-50" in run.stdout
    assert "2 states, 4 cells" in run.stdout
    assert sorted(world.iterdir()) == before


def test_help_needs_no_heavy_import() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from saetransfer.bench.cli import app\n"
        "for name in (None, 'run', 'try', 'list', 'show', 'leaderboard', 'compare', 'validate', 'publish'):\n"
        "    assert CliRunner().invoke(app, [*filter(None, [name]), '--help']).exit_code == 0\n"
        "print(sorted({'torch', 'transformers', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_everything_that_suites_can_name_is_listed(world: Path) -> None:
    run = saetransfer(world, "list")
    assert run.returncode == 0, run.stderr
    for name in (
        "microworld",
        "wanda-50",
        "bnb-nf4",
        "microworld-resid-2",
        "wikitext2",
        "perplexity.transfer_gap",
        "demo",
    ):
        assert name in run.stdout
