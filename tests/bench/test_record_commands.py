"""`saetransfer validate`, `merge` and `export` through the real command line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from saetransfer.leaderboard import store
from tests.bench.command import saetransfer
from tests.leaderboard.measured import measured, sums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two folders with one cell in common, on which they differ, and one of each alone."""
    for name, shift in (("one", 0.0), ("two", 0.5)):
        store.write(measured(per_document=sums(0, shift)), tmp_path / name)
        store.write(measured(name), tmp_path / name)
    return tmp_path


def test_validate_ends_with_2_and_says_what_to_mend(folder: Path) -> None:
    found = saetransfer(folder, "validate", "one", "--summary", "out/report.md")
    assert found.returncode == 2
    assert "does not tell the version of Python" in found.stdout
    assert "run the cell again" in found.stdout
    assert "Not acceptable: 2 records" in (folder / "out" / "report.md").read_text(encoding="utf-8")


def test_a_conflict_ends_with_2_and_writes_nothing(folder: Path) -> None:
    found = saetransfer(folder, "merge", "one", "two", "--to", "all")
    assert found.returncode == 2
    assert "Nothing was merged" in found.stderr
    assert not (folder / "all").exists()


def test_folders_are_merged(folder: Path) -> None:
    store.write(measured(), folder / "two")
    found = saetransfer(folder, "merge", "one", "two", "--to", "all")
    assert found.returncode == 0, found.stderr
    assert "3 records -> all" in found.stdout
    assert "the same record in one" in found.stdout


@pytest.mark.parametrize(
    ("form", "to", "files"),
    [
        ("csv", "a/out.csv", ["out.csv"]),
        ("parquet", "a/out.parquet", ["out.parquet"]),
        ("latex", "a/out.tex", ["out.tex"]),
        ("github-action-benchmark", "a", ["bigger-is-better.json", "smaller-is-better.json"]),
        ("eee", "a", None),
    ],
)
def test_every_format_is_written_and_twice_the_same(folder: Path, form: str, to: str, files: list[str] | None) -> None:
    def written(name: str) -> dict[str, bytes]:
        found = saetransfer(folder, "export", "one", "--format", form, "--to", f"{name}/{to}")
        assert found.returncode == 0, found.stderr
        return {path.name: path.read_bytes() for path in sorted((folder / name / "a").iterdir())}

    first = written("first")
    assert first == written("second")
    assert files is None or sorted(first) == files
    assert len(first) > 0


def test_a_table_holds_a_row_for_each_figure(folder: Path) -> None:
    assert saetransfer(folder, "export", "one", "--format", "csv", "--to", "out.csv").returncode == 0
    table = pd.read_csv(folder / "out.csv")
    assert sorted(table["compressor"]) == ["dense", "one"]
    assert set(table["metric"]) == {"perplexity.ce_splice_increase"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("export", "one", "--format", "csv", "--to", "two"), "this is a folder"),
        (("export", "one", "--format", "eee", "--to", "file"), "this is a file"),
        (("export", "empty", "--format", "csv", "--to", "x.csv"), "No records in empty"),
        (("export", "nowhere", "--format", "csv", "--to", "x.csv"), "no such folder"),
        (("validate", "empty"), "No records in empty"),
        (("merge", "empty", "--to", "x"), "No records in empty"),
        (("merge", "damaged", "--to", "x"), "nothing was merged"),
    ],
)
def test_2_for_a_users_mistake(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    (folder / "empty").mkdir()
    (folder / "file").write_text("")
    (folder / "damaged" / "cells").mkdir(parents=True)
    (folder / "damaged" / "cells" / "a.json").write_text("{")
    found = saetransfer(folder, *arguments)
    assert found.returncode == 2, found.stdout + found.stderr
    assert said in found.stderr
    assert "Traceback" not in found.stderr
