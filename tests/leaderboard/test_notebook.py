"""The example notebook runs on any records, and has pictures."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from saetransfer.leaderboard import store
from tests.leaderboard.test_plots import cells

NOTEBOOK = Path(__file__).parents[2] / "leaderboard" / "example.ipynb"


# The kernel's own libraries warn of what does not concern this one.
@pytest.mark.filterwarnings("default")
@pytest.mark.slow
def test_it_runs_on_a_small_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for one in cells():
        store.write(one, tmp_path)
    monkeypatch.setenv("SAETRANSFER_RECORDS", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 4


def test_it_is_stored_with_its_pictures() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown)
