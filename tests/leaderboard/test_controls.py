"""Controls hold where they should, and what violates one is found."""

from __future__ import annotations

import pytest

from saetransfer.leaderboard.boards import board, markdown
from saetransfer.leaderboard.boards.controls import violations
from saetransfer.leaderboard.record import Measurement, Record
from tests.leaderboard.examples import DEFINITIONS, grid, record


def with_metric(one: Record, name: str, value: float, ci: tuple[float, float] | None = None) -> Record:
    return one.model_copy(update={"metrics": {**one.metrics, name: Measurement(value=value, unit="1", ci=ci)}})


def test_a_sound_grid_violates_nothing() -> None:
    assert violations(grid()) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("perplexity.transfer_gap", 1e-9),
        ("perplexity.kl_model", 1e-9),
        ("overlap.survived", 0.999),
        ("overlap.activation_drift", 1e-9),
    ],
)
def test_the_dense_state_must_be_exact(name: str, value: float) -> None:
    broken = with_metric(record(), name, value)
    ((message,),) = violations([broken]).values()
    assert name in message
    assert violations([with_metric(record("wanda-50"), name, value)]) == {}


def test_features_of_a_pruned_sae_need_not_all_survive_on_the_dense_state() -> None:
    assert violations([with_metric(record(sae="pruned", source="pruned"), "overlap.survived", 0.8)]) == {}


def test_probes_fitted_on_dense_latents_must_do_as_well_there_as_they_did() -> None:
    fitted = with_metric(record(), "probing.accuracy_k5", 0.9)
    assert violations([with_metric(fitted, "probing.transfer_accuracy_k5", 0.9)]) == {}
    ((message,),) = violations([with_metric(fitted, "probing.transfer_accuracy_k5", 0.91)]).values()
    assert "must be 0.9 exactly" in message


def test_shuffled_labels_must_be_at_chance_but_for_chance() -> None:
    for value, n_violations in ((0.52, 0), (0.57, 0), (0.65, 1)):
        found = violations([with_metric(record(), "probing.accuracy_shuffled", value, (value - 0.04, value + 0.04))])
        assert len(found) == n_violations, value


def test_the_cross_entropy_of_a_state_is_that_of_all_its_cells() -> None:
    first = with_metric(record(), "perplexity.ce_state", 3.0)
    second = with_metric(record(sae="native"), "perplexity.ce_state", 3.0)
    assert violations([first, second]) == {}
    found = violations([first, with_metric(record(sae="native"), "perplexity.ce_state", 3.1)])
    assert set(found) == {first.cell_id, second.cell_id}


def test_a_real_sae_that_is_no_better_than_a_random_one_is_marked_and_the_reader_told() -> None:
    poor = with_metric(record(), "reconstruction.explained_variance", 0.12, (0.09, 0.15))
    chance = with_metric(record(sae="random", source="random"), "reconstruction.explained_variance", 0.1, (0.08, 0.12))
    assert list(violations([poor, chance])) == [poor.cell_id]
    text = markdown.render([poor, chance], DEFINITIONS)
    assert "Control violated by frozen (trained on dense) on dense: explains no more variance than" in text
    assert "ok ‡" in text
    (model,) = board.build([record(), chance], DEFINITIONS).models
    assert not any("‡" in row.cells[-1].text for row in model.cells.rows)
