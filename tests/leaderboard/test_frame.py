"""The table for analysis holds every figure once, and cells without figures too."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from saetransfer.leaderboard import frame, store
from saetransfer.leaderboard.record import Measurement
from tests.leaderboard.examples import grid, record

NAMES = ["model", "compressor", "sae", "sae_source", "site", "text", "suite"]
COLUMNS = [*NAMES, "metric", "value", "ci_low", "ci_high", "half_1", "half_2", "n", "unit", "status", "cell_id"]


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


def test_figures_that_only_some_records_have_and_details_are_no_obstacle(tmp_path: Path) -> None:
    figure = Measurement(value=0.9, unit="1", ci=(0.8, 0.95), n=200, halves=(0.88, 0.92))
    probed = record().model_copy(
        update={
            "metrics": {**record().metrics, "probing.sst2.label.accuracy_k5": figure},
            "details": {"overlap": {"r_percent": [100, None]}, "probing": [1, {"a": None}]},
        }
    )
    for one in [probed, *grid()[1:]]:
        store.write(one, tmp_path)
    table = frame.load(tmp_path)
    (row,) = table[table.metric == "probing.sst2.label.accuracy_k5"].to_dict("records")
    assert (row["value"], row["half_1"], row["half_2"], row["n"]) == (0.9, 0.88, 0.92, 200)
    assert table[table.compressor == "wanda-50"].half_1.isna().all()
    table.to_csv(tmp_path / "figures.csv", index=False)
    again = pd.read_csv(tmp_path / "figures.csv").astype(table.dtypes)
    pd.testing.assert_frame_equal(again, table)
