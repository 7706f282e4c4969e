"""What the perplexity metrics are, as properties."""

from __future__ import annotations

import math

import pytest
import torch

from saetransfer.tasks import chunks
from saetransfer.tasks.estimate import estimate
from saetransfer.tasks.perplexity import Perplexity
from saetransfer.tasks.task import DOCUMENTS, with_dense_cell
from tests.tasks.cells import Sae, Scene, latents

TASK = Perplexity()
SCENE = Scene()
F = latents(len(SCENE.x))
IDENTITY: Sae = (F, SCENE.x)
NOISY: Sae = (F, SCENE.x + 0.5 * torch.randn(SCENE.x.shape, generator=torch.Generator().manual_seed(9)))


def test_an_sae_that_changes_nothing_costs_nothing() -> None:
    found = SCENE.figures(TASK, IDENTITY)
    assert found["ce_splice_increase"].value == 0.0
    assert found["kl_splice"].value == 0.0
    assert found["loss_recovered_zero"].value == 1.0
    assert found["loss_recovered_mean"].value == 1.0
    assert found["kl_score"].value == 1.0


def test_an_sae_that_gives_zeros_recovers_nothing() -> None:
    found = SCENE.figures(TASK, (F, torch.zeros_like(SCENE.x)))
    assert found["loss_recovered_zero"].value == pytest.approx(0.0, abs=1e-6)
    assert found["kl_score"].value == pytest.approx(0.0, abs=1e-6)
    assert found["ce_spliced"].value == pytest.approx(found["ce_zero"].value, rel=1e-6)


def test_an_sae_that_gives_the_mean_is_the_mean_ablation() -> None:
    found = SCENE.figures(TASK, (F, SCENE.x.mean(dim=0).expand_as(SCENE.x)))
    assert found["loss_recovered_mean"].value == pytest.approx(0.0, abs=1e-6)


def test_cross_entropies_are_token_means_over_scored_tokens() -> None:
    found = SCENE.figures(TASK, NOISY)
    for name, hidden in (("ce_state", SCENE.x), ("ce_spliced", NOISY[1]), ("ce_dense", SCENE.x + SCENE.dense_shift)):
        logits = ((hidden - 3.0) @ SCENE.unembedding)[SCENE.scored]
        textbook = torch.nn.functional.cross_entropy(logits.double(), SCENE.targets[SCENE.scored])
        assert found[name].value == pytest.approx(textbook.item(), rel=1e-6), name
    assert found["ppl_state"].value == pytest.approx(math.exp(found["ce_state"].value or 0))
    assert found["ce_model_increase"].value == pytest.approx(
        (found["ce_state"].value or 0) - (found["ce_dense"].value or 0), abs=1e-9
    )


def test_divergences_are_those_of_torch_over_all_valid_tokens() -> None:
    found = SCENE.figures(TASK, NOISY)
    pairs = {
        "kl_splice": (SCENE.x, NOISY[1]),
        "kl_model": (SCENE.x + SCENE.dense_shift, SCENE.x),
    }
    for name, (reference, other) in pairs.items():
        p, q = SCENE.log_probs(reference).double(), SCENE.log_probs(other).double()
        textbook = torch.nn.functional.kl_div(q, p, reduction="batchmean", log_target=True)
        assert found[name].value == pytest.approx(textbook.item(), rel=1e-5), name


def test_the_targets_of_unscored_tokens_do_not_matter() -> None:
    other = Scene()
    other.targets[~other.scored] = 0
    assert other.figures(TASK, NOISY) == SCENE.figures(TASK, NOISY)


def test_the_dense_state_loses_nothing_to_compression() -> None:
    found = SCENE.figures(TASK, NOISY, dense=True)
    assert found["ce_model_increase"].value == 0.0
    assert found["kl_model"].value == 0.0


def gap(state: Sae, dense: Sae) -> tuple[float | None, tuple[float, float] | None, str | None]:
    sums = with_dense_cell(SCENE.sums(TASK, state), SCENE.sums(TASK, dense).samples[DOCUMENTS])
    found = estimate(TASK.metrics, sums)["perplexity.transfer_gap"]
    return found.value, found.ci, found.reason


def test_the_transfer_gap_of_a_cell_against_itself_is_exactly_zero_with_its_interval() -> None:
    assert gap(NOISY, NOISY) == (0.0, (0.0, 0.0), None)


def test_the_transfer_gap_is_the_difference_of_the_two_increases() -> None:
    value, ci, _ = gap(NOISY, IDENTITY)
    assert value == pytest.approx(SCENE.figures(TASK, NOISY)["ce_splice_increase"].value)
    assert ci is not None
    assert ci[0] <= (value or 0) <= ci[1]


def test_without_a_dense_cell_there_is_no_transfer_gap() -> None:
    found = SCENE.figures(TASK, NOISY)["transfer_gap"]
    assert (found.value, found.reason) == (None, "the same SAE has no figures on the dense state")


def test_loss_recovered_is_left_out_where_the_site_is_worth_nothing() -> None:
    worthless = Scene()
    worthless.unembedding = 1e-4 * worthless.unembedding
    found = worthless.figures(TASK, NOISY)["loss_recovered_zero"]
    assert found.value is None
    assert "0.05 nats" in (found.reason or "")


def test_certain_predictions_give_no_nan() -> None:
    certain = Scene()
    certain.unembedding = 1e4 * certain.unembedding
    found = certain.figures(TASK, (F, SCENE.x.flip(0)))  # certain of the wrong token
    assert found["kl_splice"].value is not None
    assert found["ce_spliced"].value is not None
    assert found["ppl_spliced"].value is None  # exp of thousands of nats is beyond float64
    assert found["ppl_spliced"].reason == "the cross-entropy is so large that its exponential overflows"


@pytest.mark.parametrize(("most_tokens", "numbers"), [(16, 2**20), (1024, 1), (1024, 3 * 48), (16, 2 * 16)])
def test_no_figure_depends_on_how_many_tokens_and_words_are_taken_at_once(
    monkeypatch: pytest.MonkeyPatch, most_tokens: int, numbers: int
) -> None:
    usual = SCENE.figures(TASK, NOISY)
    monkeypatch.setitem(chunks._MOST_TOKENS, "cpu", most_tokens)
    monkeypatch.setitem(chunks._NUMBERS, "cpu", numbers)
    found = {name: figure.value for name, figure in SCENE.figures(TASK, NOISY).items() if figure.value is not None}
    assert found == pytest.approx({name: usual[name].value for name in found}, rel=1e-6)
    assert len(found) == len(usual) - 1  # there is no dense cell to have a gap to


@pytest.mark.parametrize("sizes", [(1,) * 48, (47, 1), (5, 20, 23)])
def test_no_figure_depends_on_how_the_text_is_cut_into_batches(sizes: tuple[int, ...]) -> None:
    whole, cut = SCENE.figures(TASK, NOISY), SCENE.figures(TASK, NOISY, sizes)
    for name, found in whole.items():
        expected = None if found.value is None else pytest.approx(found.value, rel=1e-6, abs=1e-9)
        assert cut[name].value == expected, name
