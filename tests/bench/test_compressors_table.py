"""The tables of compressors in a README: from records alone, between two comments."""

from __future__ import annotations

import random

import pytest

from saetransfer.bench.compressors_table import render
from saetransfer.bench.errors import UsageError
from saetransfer.bench.planning import suite
from saetransfer.leaderboard.record import Failure, Record
from tests.leaderboard.examples import grid, record, spec


def test_rows_stand_in_the_order_of_the_suite_whatever_the_order_of_the_records() -> None:
    names = [name for name in suite.load("compressors").suite.compressors if isinstance(name, str)]
    records = [record(name) for name in [*names, "another"]]
    table = render(records)
    rows = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")]
    assert rows[2:] == [*names, "another"]
    random.Random(0).shuffle(records)
    assert render(records) == table


def test_a_row_holds_the_weights_the_model_and_the_features() -> None:
    (row,) = (line for line in render(grid()).splitlines() if line.startswith("| wanda-50"))
    assert row == "| wanda-50 | 50 % | 32 | 27 % | – | – | 0.250 ± 0.010 | 0.8913 | 0.0312 ± 0.0040 | 31.80 ± 0.20 |"


def test_each_model_and_each_frozen_sae_has_its_table_and_other_saes_have_none() -> None:
    other = spec(model={"name": "stories"})
    stories = record(spec=other, labels=record().labels.model_copy(update={"model": "stories"}))
    table = render([*grid(), stories, record(sae="second")])
    assert [line for line in table.splitlines() if line.startswith("### ")] == ["### microworld"] * 2 + ["### stories"]
    assert "SAE second at " in table
    assert "random" not in table


def test_why_there_are_no_figures_and_warnings_are_told() -> None:
    failed = record("wanda-50", error=Failure(phase="compress", type="ValueError", message="too | large"))
    warned: Record = record("rtn-4", compression={**(record().compression or {}), "warnings": ["few tokens"]})
    table = render([record(), failed, warned])
    assert "- wanda-50: failed (compress): too \\| large" in table
    assert "- rtn-4, warning: few tokens" in table


def test_records_without_a_frozen_sae_are_refused() -> None:
    with pytest.raises(UsageError, match="no record of a frozen SAE"):
        render([record(sae="random", source="random")])
