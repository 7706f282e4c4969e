"""The whole gate as CI runs it: the suite `ci`, against the committed baseline, through the real command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.command import saetransfer

BASELINE = Path(__file__).resolve().parents[1] / "baseline"
SAE = "microworld-resid-2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the baseline's cells of suite `ci` have been run."""
    folder = tmp_path_factory.mktemp("gate")
    run = saetransfer(folder, "run", "ci", "--out", "records", "--only", SAE, "--jobs", "1")
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


def test_the_suite_ci_passes_against_the_committed_baseline(folder: Path) -> None:
    found = saetransfer(folder, "compare", str(BASELINE), "records", "--json", "report.json")
    assert found.returncode == 0, found.stdout
    counts = json.loads((folder / "report.json").read_text(encoding="utf-8"))["counts"]
    assert counts["same"] >= 50
    assert counts["regressed"] == counts["missing"] == counts["newly failing"] == 0


@pytest.mark.slow
def test_a_compressor_that_does_more_harm_under_the_same_name_is_found(folder: Path) -> None:
    """What the gate is for: somebody changes how a state is made, and nothing else."""
    suite = (
        "name: ci\nmodels: [microworld]\ncompressors: [dense, {name: wanda-50, method: magnitude, sparsity: 0.6}]\n"
        f"saes: [{SAE}]\ntasks: [reconstruction, perplexity]\n"
        "data: {text: microworld, tokens: 4096, context: 128}\nseed: 0\n"
    )
    (folder / "worse.yaml").write_text(suite, encoding="utf-8")
    assert saetransfer(folder, "run", "worse.yaml", "--out", "worse", "--jobs", "1").returncode == 0
    found = saetransfer(folder, "compare", str(BASELINE), "worse", "--json", "worse.json")
    assert found.returncode == 1
    regressed = {
        one["metric"]
        for one in json.loads((folder / "worse.json").read_text(encoding="utf-8"))["findings"]
        if one["verdict"] == "regressed"
    }
    assert {"perplexity.ce_model_increase", "reconstruction.explained_variance"} <= regressed
    assert "is not what it was" in found.stdout


def test_the_committed_baseline_could_be_handed_in_but_for_its_random_control() -> None:
    found = saetransfer(BASELINE, "validate", ".")
    assert found.returncode == 0, found.stdout
    assert "0 mistakes, 1 warning." in found.stdout
