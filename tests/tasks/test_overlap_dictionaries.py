"""Two dictionaries: the same latents are found again under other numbers, others are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saetransfer.tasks.batch import Dictionaries
from saetransfer.tasks.overlap import dictionaries, task
from saetransfer.tasks.overlap.dictionaries import NOT_FINITE_DECODER, by_direction, highest_cosine
from saetransfer.tasks.overlap.settings import OverlapSettings
from saetransfer.tasks.overlap.task import Overlap
from tests.tasks.cells import Scene

N_TOKENS, D_SAE, D_IN = 400, 40, 24
TASK = Overlap(OverlapSettings(nearest_above=0.8))
GENERATOR = torch.Generator().manual_seed(0)
DECODER = torch.randn(D_SAE, D_IN, generator=GENERATOR)
FEATURES = torch.rand(N_TOKENS, D_SAE, generator=GENERATOR).sub(0.9).relu()
ORDER = torch.randperm(D_SAE, generator=GENERATOR)


def scene(counterpart: torch.Tensor, decoder: torch.Tensor) -> Scene:
    made = Scene(N_TOKENS, D_IN)
    made.counterpart = counterpart
    made.dictionaries = Dictionaries(DECODER, "no origin", decoder)
    return made


def values(where: Scene) -> dict[str, float | None]:
    return {name: found.value for name, found in where.figures(TASK, (FEATURES, where.x)).items()}


def test_the_same_latents_in_another_order_and_scale_are_all_found_again() -> None:
    found = values(scene(2 * FEATURES[:, ORDER], 3 * DECODER[ORDER]))
    for kind in ("decoder", "correlation"):
        assert found[f"{kind}_mutual_nearest"] == 1.0
    for name in ("decoder_mmcs", "decoder_mmcs_of_frozen", "correlation_nearest", "correlation_nearest_of_frozen"):
        assert found[name] == pytest.approx(1.0, abs=1e-5)


def test_random_latents_are_not() -> None:
    other = torch.Generator().manual_seed(9)
    features = torch.rand(N_TOKENS, D_SAE, generator=other).sub(0.9).relu()
    found = values(scene(features, torch.randn(D_SAE, D_IN, generator=other)))
    assert found["decoder_mutual_nearest"] == found["correlation_mutual_nearest"] == 0.0
    assert (found["decoder_mmcs"] or 1) < 0.7
    assert (found["correlation_nearest"] or 1) < 0.4


def test_a_part_of_a_dictionary_is_found_in_the_whole_and_the_whole_only_in_part() -> None:
    found = values(scene(FEATURES[:, :10], DECODER[:10]))
    assert found["decoder_mutual_nearest"] == found["correlation_mutual_nearest"] == 0.25
    assert found["decoder_mmcs_of_frozen"] == pytest.approx(1.0)
    assert (found["decoder_mmcs"] or 1) < 0.8


@pytest.mark.parametrize("few", [0.0, 1.0])
def test_correlations_are_those_of_numpy_however_products_are_made(monkeypatch: pytest.MonkeyPatch, few: float) -> None:
    monkeypatch.setattr(dictionaries, "_FEW", few)
    counterpart = FEATURES[:, ORDER] + 0.1 * torch.rand(N_TOKENS, D_SAE, generator=GENERATOR)
    theirs = np.corrcoef(FEATURES.double().numpy(), counterpart.double().numpy(), rowvar=False)[:D_SAE, D_SAE:]
    found = values(scene(counterpart, DECODER))
    assert found["correlation_nearest"] == pytest.approx(theirs.max(axis=1).mean(), abs=1e-5)
    assert found["correlation_nearest_of_frozen"] == pytest.approx(theirs.max(axis=0).mean(), abs=1e-5)


def test_latents_that_fire_too_rarely_are_not_correlated() -> None:
    counterpart = FEATURES.clone()
    counterpart[:, :5] = 0
    counterpart[:3, 0] = 1.0
    where = scene(counterpart, DECODER)
    assert where.sums(TASK, (FEATURES, where.x)).total("correlation_n_frozen") == D_SAE - 5


def test_a_silent_dictionary_has_no_neighbours() -> None:
    where = scene(torch.zeros(N_TOKENS, D_SAE), torch.zeros(D_SAE, D_IN))
    found = where.figures(TASK, (FEATURES, where.x))
    for name in ("decoder_mmcs", "decoder_mutual_nearest", "correlation_nearest", "correlation_mutual_nearest"):
        assert found[name].value is None
        assert found[name].reason == "one of the dictionaries has no latent that could be compared"


def test_a_decoder_that_is_not_finite_has_a_reason() -> None:
    decoder = DECODER.clone()
    decoder[3, 4] = torch.nan
    where = scene(FEATURES, decoder)
    assert where.figures(TASK, (FEATURES, where.x))["decoder_mmcs"].reason == NOT_FINITE_DECODER


def test_dictionaries_too_wide_to_keep_their_pairs_have_a_reason_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "MOST_PAIRS", D_SAE * D_SAE - 1)
    where = scene(FEATURES, DECODER)
    found = where.figures(TASK, (FEATURES, where.x))
    assert found["correlation_nearest"].reason is not None
    assert "40 x 40 latents are more than the 1599 pairs" in found["correlation_nearest"].reason
    assert found["decoder_mmcs"].value == pytest.approx(1.0)


@pytest.mark.parametrize("at_once", [1, 7 * D_SAE, 2**22])
def test_the_nearest_are_the_same_however_few_rows_are_held_at_a_time(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(dictionaries, "_MOST_AT_ONCE", at_once)
    other = torch.randn(30, D_IN, generator=torch.Generator().manual_seed(3))
    cosine = torch.nn.functional.cosine_similarity(DECODER[:, None], other[None], dim=2).numpy()
    found = by_direction(DECODER, other)
    assert found.own == pytest.approx(cosine.max(axis=1), abs=1e-6)
    assert found.other == pytest.approx(cosine.max(axis=0), abs=1e-6)
    expected = [cosine[:, cosine[row].argmax()].argmax() == row for row in range(D_SAE)]
    assert found.mutual.tolist() == expected
    own = torch.nn.functional.cosine_similarity(DECODER[:, None], DECODER[None], dim=2).fill_diagonal_(-2).numpy()
    assert highest_cosine(DECODER) == pytest.approx(own.max(axis=1), abs=1e-6)
