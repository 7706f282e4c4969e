"""Figures of one data set are told for what they are."""

from __future__ import annotations

import pytest

from saetransfer.bench.measuring.definitions import definitions
from saetransfer.leaderboard.boards.columns import COLUMNS, Column, Definition, defined, header
from saetransfer.leaderboard.record import Measurement
from tests.leaderboard.examples import record

KNOWN = {"probing.accuracy_k5": Definition("share", True, "over all sets")}


@pytest.mark.parametrize("name", ["probing.accuracy_k5", "probing.sst2.label.accuracy_k5", "probing.a.b.c.accuracy_k5"])
def test_a_figure_of_one_data_set_is_defined_as_that_over_all(name: str) -> None:
    assert defined(name, KNOWN) == KNOWN["probing.accuracy_k5"]
    assert header(Column("probes", 1, str, name), [], KNOWN) == "probes (share) ↑"


@pytest.mark.parametrize("name", ["probing.sst2.label.unheard_of", "accuracy_k5", "", "probing.", "other.accuracy_k5"])
def test_what_nobody_defined_has_the_unit_of_its_record(name: str) -> None:
    assert defined(name, KNOWN) is None
    one = record().model_copy(update={"metrics": {name: Measurement(value=1.0, unit="apples")}})
    assert header(Column("probes", 1, str, name), [one], KNOWN) == "probes (apples)"


def test_the_tasks_define_the_figures_of_their_data_sets() -> None:
    known = definitions()
    for name in ("accuracy_k5", "transfer_accuracy_k5", "accuracy_raw"):
        assert defined(f"probing.sst2.label.{name}", known) == known[f"probing.{name}"]


def test_the_speed_of_an_sae_is_a_column_of_its_own() -> None:
    column = next(column for column in COLUMNS if column.title == "SAE tokens/s")
    one = record()
    assert column.is_empty([one.model_copy(update={"sae": None}), one.model_copy(update={"sae": {"d_in": 3}})])
    assert column.show(one.model_copy(update={"sae": {"tokens_per_second": 12_345.6}})) == "12,346"
