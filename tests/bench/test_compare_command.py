"""`saetransfer compare` through the real command line: every exit code, every report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import xmlschema

from saetransfer.leaderboard import store
from saetransfer.leaderboard.record import Record
from tests.bench.command import Finished, saetransfer
from tests.leaderboard.measured import failed, measured, sums


def put(folder: Path, *records: Record) -> None:
    for record in records:
        store.write(record, folder)


def compare(folder: Path, *arguments: str) -> Finished:
    return saetransfer(folder, "compare", "base", "new", *arguments)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A baseline of two cells."""
    put(tmp_path / "base", measured(), measured("wanda-50"))
    return tmp_path


def test_0_where_nothing_is_worse(folder: Path) -> None:
    put(folder / "new", measured(), measured("wanda-50"), measured("rtn-4"))
    found = compare(folder)
    assert (found.returncode, found.stderr) == (0, "")
    assert "No regression: 1 new, 2 same" in found.stdout


def test_1_where_a_figure_is_worse_or_a_cell_has_failed(folder: Path) -> None:
    put(folder / "new", measured(), measured("wanda-50", sums(0, 0.5)))
    found = compare(folder)
    assert found.returncode == 1
    assert "Worse than the baseline: 1 regressed" in found.stdout
    assert "microworld/wanda-50/frozen" in found.stdout
    put(folder / "new", failed("wanda-50"))
    assert compare(folder).returncode == 1


def test_3_where_a_cell_is_gone_or_a_new_one_failed_or_a_record_is_cut_short(folder: Path) -> None:
    put(folder / "new", measured())
    assert compare(folder).returncode == 3
    put(folder / "new", measured("wanda-50"), failed("rtn-4"))
    assert compare(folder).returncode == 3
    store.cell_path(folder / "new", failed("rtn-4").labels, failed("rtn-4").cell_id).write_text("{")
    found = compare(folder)
    assert found.returncode == 3
    assert "holds no record: not JSON, or cut short" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("compare", "base", "nowhere"), "no such folder"),
        (("compare", "base", "empty"), "No records in empty"),
        (("compare", "damaged", "base"), "The baseline is damaged"),
        (
            ("compare", "base", "base", "--tolerance", "perplexity.transfer_gab=1"),
            "mean 'perplexity.transfer_gap'? See `saetransfer",
        ),
        (("compare", "base", "base", "--tolerance", "perplexity.*=much"), "a share of the base value (5%)"),
        (("compare", "base", "base", "--tolerance", "0.1"), "--tolerance takes METRIC=TOLERANCE"),
        (("compare", "base", "base", "--tolerances", "no.yaml"), "no.yaml: cannot be read"),
        (("compare", "base", "base", "--tolerances", "list.yaml"), "list.yaml: expected a mapping"),
        (("compare", "base", "base", "--tolerances", "typo.yaml"), "typo.yaml:2: Unknown metric 'perplexity.kl_mode'"),
        (("compare", "base", "base", "--tolerances", "base"), "base: cannot be read"),
    ],
)
def test_2_for_a_users_mistake(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    (folder / "empty").mkdir()
    (folder / "damaged" / "cells").mkdir(parents=True)
    (folder / "damaged" / "cells" / "a.json").write_text("{")
    (folder / "list.yaml").write_text("[1, 2]\n")
    (folder / "typo.yaml").write_text("perplexity.kl_*: 0.1\nperplexity.kl_mode: 0.2\n")
    found = saetransfer(folder, *arguments)
    assert found.returncode == 2, found.stdout + found.stderr
    assert said in found.stderr
    assert "Traceback" not in found.stderr


def test_tolerances_come_from_a_file_and_the_command_line_wins(folder: Path) -> None:
    put(folder / "new", measured(), measured("wanda-50", sums(0, 0.02)))
    (folder / "wide.yaml").write_text("perplexity.*: 0.05\n")
    assert compare(folder).returncode == 1
    assert compare(folder, "--tolerances", "wide.yaml").returncode == 0
    narrow = ("--tolerance", "perplexity.ce_splice_increase=0.015")
    assert compare(folder, "--tolerances", "wide.yaml", *narrow).returncode == 1
    assert compare(folder, "--tolerance", "perplexity.ce_splice_increase=50%").returncode == 0
    assert compare(folder, "--tolerance", "perplexity.*=ignore").returncode == 0


def test_all_reports_are_written_and_agree(folder: Path) -> None:
    put(folder / "new", measured(), measured("wanda-50", sums(0, 0.5)))
    files = ("--summary", "out/s.md", "--comment", "out/c.md", "--junit", "out/j.xml", "--json", "out/r.json")
    assert compare(folder, *files).returncode == 1
    xmlschema.XMLSchema(str(Path(__file__).parents[1] / "leaderboard" / "junit.xsd")).validate(folder / "out" / "j.xml")
    digest = json.loads((folder / "out" / "r.json").read_text())["digest"]
    assert digest in (folder / "out" / "s.md").read_text().replace("\\", "")
    assert (folder / "out" / "s.md").read_text() == (folder / "out" / "c.md").read_text()


def test_annotations_are_for_github_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder / "new", measured(), measured("wanda-50", sums(0, 0.5)))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert "\n::error title=saetransfer%3A regressed::regressed: microworld/wanda-50/frozen" in compare(folder).stdout
    monkeypatch.setenv("GITHUB_ACTIONS", "false")
    assert "::error" not in compare(folder).stdout


def test_the_new_baseline_passes_against_what_it_was_made_of(folder: Path) -> None:
    put(folder / "new", measured(), measured("wanda-50", sums(0, 0.5)))
    found = compare(folder, "--write-baseline", "base")
    assert found.returncode == 1
    assert "2 records -> base" in found.stderr
    assert compare(folder).returncode == 0
