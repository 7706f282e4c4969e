"""What becomes of latents on another state, as properties and against other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from jaxtyping import Float
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from saetransfer.tasks.batch import Dictionaries
from saetransfer.tasks.estimate import NOT_FINITE, estimate
from saetransfer.tasks.metric import Estimate
from saetransfer.tasks.overlap.figures import NOT_ACTIVE, QUANTILES
from saetransfer.tasks.overlap.settings import OverlapSettings
from saetransfer.tasks.overlap.survivors import BLOCKS
from saetransfer.tasks.overlap.task import Overlap
from saetransfer.tasks.task import DOCUMENTS, Sums
from tests.tasks.cells import Scene

N_TOKENS, D_SAE, CHANNELS = 600, 60, 6
TASK = Overlap()
SHARES = ("survived", "blurred", "damaged", "died")
BY_LATENT = (*SHARES, *(f"r_quantile_{percent}" for percent in QUANTILES), "support_jaccard", "survival_auc")
DECODER = torch.randn(D_SAE, CHANNELS, generator=torch.Generator().manual_seed(1))


def sparse(seed: int, n_tokens: int = N_TOKENS, d_sae: int = D_SAE) -> Float[Tensor, "token d_sae"]:
    """Latents that fire on 4 to 20 % of the tokens."""
    generator = torch.Generator().manual_seed(seed)
    density = torch.linspace(0.04, 0.2, d_sae)
    return torch.rand(n_tokens, d_sae, generator=generator).sub(1 - density).relu() / density


DENSE = sparse(0)
# Each latent is a mixture of itself and of another one: the later ones hardly resemble themselves.
MIXED = torch.linspace(1, 0, D_SAE) * DENSE + torch.linspace(0, 1, D_SAE) * sparse(2)


def scene(
    dense: Float[Tensor, "token d_sae"] | str = DENSE, n_units: int = 20, decoder: Float[Tensor, "d_sae d_in"] = DECODER
) -> Scene:
    """Some text on which the frozen SAE has those latents, or none for that reason."""
    made = Scene(N_TOKENS, CHANNELS, n_units)
    known = not isinstance(dense, str)
    made.origin = dense if known else None
    made.dictionaries = Dictionaries(decoder, decoder if known else dense, "no counterpart")
    return made


def counted(
    state: Float[Tensor, "token d_sae"],
    where: Scene,
    task: Overlap = TASK,
    sizes: tuple[int, ...] = (),
) -> Sums:
    return where.sums(task, (state, where.x), sizes)


def figures(
    state: Float[Tensor, "token d_sae"], where: Scene, task: Overlap = TASK, sizes: tuple[int, ...] = ()
) -> dict[str, Estimate]:
    return where.figures(task, (state, where.x), sizes)


def test_a_state_against_itself_survives_wholly_and_exactly() -> None:
    where = scene()
    found = where.figures(TASK, (DENSE.clone(), where.x), dense=True)
    exact = {"survived": 1.0, "blurred": 0.0, "damaged": 0.0, "died": 0.0, "support_jaccard": 1.0}
    exact |= {"token_jaccard": 1.0, "activation_drift": 0.0, "activation_cosine": 1.0}
    exact |= {f"r_quantile_{percent}": 1.0 for percent in QUANTILES}
    for name, value in exact.items():
        assert (found[name].value, found[name].ci, found[name].halves) == (value, (value, value), (value, value)), name
    assert found["survival_auc"].value is None


def test_r_is_that_of_scipy_for_every_latent() -> None:
    table = counted(MIXED, scene(), Overlap(OverlapSettings(table=True))).table
    assert table is not None
    for latent in range(D_SAE):
        theirs = stats.pearsonr(DENSE[:, latent].double().numpy(), MIXED[:, latent].double().numpy())[0]
        assert table["r"][latent] == pytest.approx(theirs, abs=1e-9)


def test_the_figures_are_what_their_definitions_say() -> None:
    r = np.array([np.corrcoef(DENSE[:, i].double(), MIXED[:, i].double())[0, 1] for i in range(D_SAE)])
    assert ((DENSE != 0).sum(dim=0) >= 10).all()
    found = figures(MIXED, scene())
    assert found["survived"].value == pytest.approx((r > 0.9).mean())
    assert found["blurred"].value == pytest.approx(((r >= 0.5) & (r <= 0.9)).mean())
    assert found["damaged"].value == pytest.approx((r < 0.5).mean())
    for percent in QUANTILES:
        assert found[f"r_quantile_{percent}"].value == pytest.approx(np.quantile(r, percent / 100), abs=1e-9)
    a, b = DENSE.numpy() != 0, MIXED.numpy() != 0
    assert found["support_jaccard"].value == pytest.approx(((a & b).sum(0) / (a | b).sum(0)).mean())
    fires = (a | b).any(axis=1)
    assert found["token_jaccard"].value == pytest.approx(((a & b).sum(1)[fires] / (a | b).sum(1)[fires]).mean())


def test_drift_and_cosine_are_those_of_the_textbook() -> None:
    where = scene()
    x, dense = where.x.double(), (where.x + where.dense_shift).double()
    found = figures(DENSE, where)
    assert found["activation_drift"].value == pytest.approx(((x - dense).norm(dim=1) / dense.norm(dim=1)).mean().item())
    assert found["activation_cosine"].value == pytest.approx(torch.cosine_similarity(x, dense).mean().item())


def test_the_four_shares_are_one_whole() -> None:
    state = MIXED.clone()
    state[:, 7] = 0
    found = figures(state, scene())
    assert found["died"].value == pytest.approx(1 / D_SAE)
    assert sum(found[name].value or 0.0 for name in SHARES) == pytest.approx(1.0)


def test_scale_changes_nothing_but_the_activations() -> None:
    scales = torch.logspace(-4, 4, D_SAE)
    here, there = figures(MIXED, scene()), figures(MIXED * scales, scene())
    for name in BY_LATENT:
        assert there[name].value == pytest.approx(here[name].value, rel=1e-6), name


@pytest.mark.parametrize("sizes", [(1, 1, 598), (599, 1), (50, 250, 300)])
def test_no_figure_depends_on_how_the_text_is_cut_into_batches(sizes: tuple[int, ...]) -> None:
    where = scene()
    where.counterpart = sparse(4, d_sae=30) + MIXED[:, :30]
    where.dictionaries = Dictionaries(DECODER, DECODER, DECODER[:30])
    whole, cut = figures(MIXED, where), figures(MIXED, where, sizes=sizes)
    for name, expected in whole.items():
        assert cut[name].value == pytest.approx(expected.value, rel=1e-5), name
        assert cut[name].ci == (None if expected.ci is None else pytest.approx(expected.ci, rel=1e-5)), name


def test_shuffled_tokens_survive_at_chance() -> None:
    shuffled = DENSE[torch.randperm(N_TOKENS, generator=torch.Generator().manual_seed(3))]
    found = figures(shuffled, scene())
    assert (found["survived"].value, found["damaged"].value) == (0.0, 1.0)
    assert found["r_quantile_50"].value == pytest.approx(0.0, abs=3 / N_TOKENS**0.5)


def test_latents_that_fire_too_rarely_or_never_change_are_not_counted() -> None:
    dense = DENSE.clone()
    dense[:, 0] = 0
    dense[9:, 1] = 0
    dense[:9, 1] = 1.0
    dense[:, 2] = 3.0
    sums = counted(dense, scene(dense), Overlap(OverlapSettings(table=True)))
    assert sums.table is not None
    assert sums.total("n_active") == D_SAE - 3
    assert sums.details["r_percent"] == [None] * 3 + [100] * (D_SAE - 3)
    assert sums.table["grade"].tolist() == ["inactive"] * 3 + ["survived"] * (D_SAE - 3)
    assert figures(dense, scene(dense))["survived"].value == 1.0


def test_what_never_fires_at_all_has_a_reason() -> None:
    silent = torch.zeros(N_TOKENS, D_SAE)
    found = figures(silent, scene(silent))
    for name in BY_LATENT:
        assert (found[name].value, found[name].reason) == (None, NOT_ACTIVE), name
    assert (found["token_jaccard"].value, found["token_jaccard"].reason) == (None, "no latent fires on any token")


def test_a_state_on_which_a_latent_is_constant_damages_it() -> None:
    state = DENSE.clone()
    state[:, 5] = 1.0
    sums = counted(state, scene(), Overlap(OverlapSettings(table=True)))
    assert sums.table is not None
    assert (sums.details["r_percent"][5], sums.table["grade"][5]) == (0, "damaged")


@pytest.mark.parametrize("reason", ["trained on this state", "the frozen SAE has another number of latents"])
def test_without_an_origin_the_reason_stands_in_place_of_the_figures(reason: str) -> None:
    where = scene(reason)
    found = figures(MIXED, where)
    for name in (*BY_LATENT, "token_jaccard"):
        assert (found[name].value, found[name].reason) == (None, reason), name
    assert found["activation_drift"].value is not None
    assert found["decoder_mmcs"].reason == found["correlation_nearest"].reason == "no counterpart"


def test_an_origin_of_another_width_is_not_compared_by_number() -> None:
    where = scene()
    where.origin = DENSE[:, :10]
    with pytest.raises(ValueError, match="the frozen SAE has 10 latents and this one 60"):
        figures(MIXED, where)


@pytest.mark.parametrize("place", ["activation", "state", "dense"])
def test_a_nan_gives_reasons_never_numbers(place: str) -> None:
    dense, state, where = DENSE.clone(), MIXED.clone(), scene()
    {"activation": where.x, "state": state, "dense": dense}[place][3, 2] = torch.nan
    where.origin, where.counterpart = dense, state
    where.dictionaries = Dictionaries(DECODER, DECODER, DECODER)
    found = figures(state, where)
    affected = [*BY_LATENT, *(["activation_drift"] if place == "activation" else ["token_jaccard"])]
    affected += ["correlation_nearest"] if place != "dense" else []
    for name in affected:
        assert (found[name].value, found[name].reason) == (None, NOT_FINITE), name


def test_no_text_has_a_reason() -> None:
    found = estimate(TASK.metrics, TASK.meter(3).sums())
    assert {figure.reason for figure in found.values()} == {"no valid tokens"}


def test_every_figure_says_how_many_stand_behind_it() -> None:
    for where in (scene(), scene("none")):
        sums = counted(MIXED, where)
        for metric in TASK.metrics:
            assert sums.total(metric.counted) >= 0, metric.name


def test_sums_by_latent_grow_neither_with_the_documents_nor_with_the_tokens() -> None:
    sums = counted(MIXED, scene(n_units=300))
    assert {len(values) for values in sums.samples[BLOCKS].values()} == {32}
    assert {len(values) for values in sums.samples[DOCUMENTS].values()} == {300}


def test_the_table_tells_of_every_latent_and_changes_no_figure() -> None:
    task = Overlap(OverlapSettings(table=True))
    assert task.params == TASK.params
    sums = counted(MIXED, scene(), task)
    table = sums.table
    assert table is not None
    assert counted(MIXED, scene()).table is None
    assert {len(column) for column in table.values()} == {D_SAE}
    fired = DENSE != 0
    assert table["dense_firings"].tolist() == fired.sum(dim=0).tolist()
    assert table["state_firings"].tolist() == (MIXED != 0).sum(dim=0).tolist()
    assert table["dense_mean"] == pytest.approx((DENSE.double().sum(dim=0) / fired.sum(dim=0)).numpy())
    assert table["dense_max"] == pytest.approx(DENSE.amax(dim=0).numpy())
    assert table["decoder_norm"] == pytest.approx(DECODER.norm(dim=1).numpy())
    assert [round(100 * r) for r in table["r"]] == sums.details["r_percent"]


def test_thresholds_stand_in_the_definitions_and_move_the_shares() -> None:
    strict = Overlap(OverlapSettings(survived_above=0.99, damaged_below=0.95))
    found, usual = figures(MIXED, scene(), strict), figures(MIXED, scene())
    assert (found["survived"].value or 0) < (usual["survived"].value or 0)
    assert (found["damaged"].value or 0) > (usual["damaged"].value or 0)
    assert "r > 0.99" in next(metric.definition for metric in strict.metrics if metric.name == "overlap.survived")


def test_thresholds_out_of_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="give a damaged_below that is not above it"):
        OverlapSettings(survived_above=0.4)
