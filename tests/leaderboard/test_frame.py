"""The table for analysis holds every figure once, and cells without figures too."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from saetransfer.leaderboard import frame, store
from tests.leaderboard.examples import grid

NAMES = ["model", "compressor", "sae", "sae_source", "site"]
COLUMNS = [*NAMES, "metric", "value", "ci_low", "ci_high", "n", "unit", "status", "cell_id"]


def test_one_row_a_figure(tmp_path: Path) -> None:
    for one in grid():
        store.write(one, tmp_path)
    table = frame.load(tmp_path)
    assert list(table.columns) == COLUMNS
    assert len(table) == sum(len(one.metrics) or 1 for one in grid())
    assert not table.duplicated(["cell_id", "metric"]).any()
    gaps = table[table.metric == "perplexity.transfer_gap"].set_index(["sae", "compressor"]).value
    assert gaps["frozen", "wanda-50"] == pytest.approx(0.0312)
    (failed,) = table[table.status == "failed"].to_dict("records")
    assert pd.isna(failed["metric"])
    assert pd.isna(failed["value"])


def test_types_do_not_depend_on_what_was_found(tmp_path: Path) -> None:
    empty = frame.load(tmp_path)
    store.write(grid()[0], tmp_path)
    assert list(empty.columns) == COLUMNS
    assert (empty.dtypes == frame.load(tmp_path).dtypes).all()


def test_bad_files_are_warned_of(tmp_path: Path) -> None:
    store.write(grid()[0], tmp_path)
    (tmp_path / "cells" / "bad.json").write_text("{")
    with pytest.warns(UserWarning, match=r"bad\.json: not JSON"):
        assert len(frame.load(tmp_path)) == 6
