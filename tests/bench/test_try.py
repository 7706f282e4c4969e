"""`saetransfer try`: an author's compressor on the embedded model, beside others, by the machinery of any run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from saetransfer.bench.commands.try_command import REFERENCES
from saetransfer.bench.planning import plan, suite
from saetransfer.leaderboard import store
from saetransfer.leaderboard.record import Record
from tests.bench.command import Finished, saetransfer

AUTHORS = '''
import warnings

from saetransfer.registry.compressors.outcome import CompressionWarning


def shrink(model, calibration, *, ratio: float = 0.5):
    """Zero the smallest weights of every MLP."""
    for name, weight in model.named_parameters():
        if ".mlp." in name:
            cut = weight.abs().flatten().kthvalue(int(ratio * weight.numel())).values
            weight[weight.abs() <= cut] = 0
    warnings.warn("ratio is only a guess", CompressionWarning)
    return model


def breaks(model, calibration):
    return part_of(model)


def part_of(model):
    return model.no_such_part


def forgets(model, calibration):
    shrink(model, calibration)


def nothing(model, calibration):
    return model
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests, so that the others are measured once."""
    made = tmp_path_factory.mktemp("author")
    (made / "mine.py").write_text(AUTHORS, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def tried(folder: Path) -> Finished:
    return saetransfer(folder, "try", "mine.py:shrink", "--set", "ratio=0.4")


def records(folder: Path) -> dict[str, Record]:
    (kept,) = (folder / "cache" / "try").iterdir()
    return {record.labels.compressor: record for record in store.read_all([kept]).records}


def row(output: str, name: str) -> list[str]:
    (found,) = (line.split() for line in output.splitlines() if line.split()[:1] == [name] and "%" in line[:40])
    return found


def test_it_stands_in_a_table_beside_the_dense_model_and_four_others(tried: Finished) -> None:
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert row(tried.stdout, "dense")[1:5] == ["0", "%", "32", "100"]
    for name in (*REFERENCES, "shrink"):
        assert len([part for part in row(tried.stdout, name) if part.startswith("±")]) == 3
    for heading in ("zeros", "bits", "size", "weight", "output", "model CE", "explained", "transfer", "L0"):
        assert heading in tried.stdout


def test_a_verdict_and_the_warnings_follow(tried: Finished) -> None:
    assert "shrink costs the model " in tried.stdout
    assert "The frozen SAE explains " in tried.stdout
    assert "Warning: ratio is only a guess" in tried.stdout


def test_the_lines_to_paste_are_the_compressor_that_was_tried(folder: Path, tried: Finished) -> None:
    lines = yaml.safe_load(tried.stdout[tried.stdout.index("compressors:") :])
    content = {
        "name": "pasted",
        "models": ["microworld"],
        "saes": ["microworld-resid-2"],
        "data": {"text": "microworld"},
    }
    (folder / "pasted.yaml").write_text(yaml.safe_dump({**content, **lines}), encoding="utf-8")
    planned = plan.make(suite.load(str(folder / "pasted.yaml")))
    assert planned.states[-1].compressor.identity == records(folder)["shrink"].spec.compressor


def test_others_are_measured_once_and_the_authors_own_each_time(folder: Path, tried: Finished) -> None:
    before = {name: record.model_dump() for name, record in records(folder).items()}
    log = next((folder / "cache" / "try").glob("*/logs/*shrink*"))
    os.utime(log, (0, 0))
    again = saetransfer(folder, "try", "mine.py:shrink", "--set", "ratio=0.4")
    assert again.stdout == tried.stdout
    assert log.stat().st_mtime > 0
    after = {name: record.model_dump() for name, record in records(folder).items()}
    assert {name: before[name] for name in REFERENCES} == {name: after[name] for name in REFERENCES}


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("forgets", "forgets is not verified (phase compress). Method 'forgets' returned nothing (None)"),
        ("nothing", "nothing is not verified (phase verify). Not compressed as promised: none of the 35 target"),
    ],
)
def test_one_that_fails_is_told_why(folder: Path, tried: Finished, function: str, said: str) -> None:
    run = saetransfer(folder, "try", f"mine.py:{function}")
    assert run.returncode == 3, run.stdout + run.stderr
    assert said in run.stdout
    assert "costs the model" not in run.stdout
    assert "In a suite" not in run.stdout


def test_an_exception_is_told_with_the_part_of_the_traceback_that_is_the_authors(folder: Path, tried: Finished) -> None:
    run = saetransfer(folder, "try", "mine.py:breaks")
    shown = run.stdout
    assert run.returncode == 3
    assert "breaks failed (phase compress): AttributeError: " in shown
    traceback = shown[shown.index("Traceback") :]
    assert traceback.splitlines()[1].strip() == f'File "{folder / "mine.py"}", line 18, in breaks'
    assert "in part_of" in traceback
    assert "in compress" not in traceback


def test_whatever_a_suite_may_name_can_be_tried_under_the_name_of_another_too(folder: Path, tried: Finished) -> None:
    run = saetransfer(folder, "try", "rtn", "--set", "bits=8", "--set", "name=rtn-4")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "8.11" in row(run.stdout, "rtn-4")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mine.py:shrnk",), "Did you mean 'mine.py:shrink'?"),
        (("mien.py:shrink",), "Did you mean 'mine.py'?"),
        (("mine.py",), "write `mine.py:NAME`"),
        (("mine.py:shrink", "--set", "ration=0.4"), "Did you mean 'ratio'?"),
        (("mine.py:shrink", "--set", "ratio"), "KEY=VALUE"),
        (("mine.py:shrink", "--set", "ratio=much"), "should be a valid number"),
        (("mine.py:shrink", "--set", "method=rtn"), "'method' is no parameter"),
        (("wnada-60",), "Did you mean 'wanda-60'?"),
        (("wanda-60", "--set", "sparsity=0.4"), "saetransfer try wanda --set sparsity=0.4"),
        (("wanda",), "needs the parameter 'sparsity'"),
        (("dense",), "leaves the model as it is"),
        (("auto-gptq",), "end-of-life"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_exit_code_2_and_one_message(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    run = saetransfer(folder, "try", *arguments)
    assert run.returncode == 2
    assert said in run.stderr
    assert "Traceback" not in run.stderr
    assert not run.stdout
