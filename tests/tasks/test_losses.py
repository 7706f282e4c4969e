"""Losses by token are those of float64, to the rounding of float32."""

from __future__ import annotations

import pytest
import torch

from saetransfer.tasks.losses import Divergence, Predicted


def logits(n_words: int, n_tokens: int, seed: int) -> torch.Tensor:
    return 5 * torch.randn(n_words, n_tokens, generator=torch.Generator().manual_seed(seed))


def losses(
    own: torch.Tensor,
    other: torch.Tensor,
    *,
    targets: torch.Tensor | None = None,
    columns: torch.Tensor | None = None,
    at_once: int = 1000,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropies of `own` and KL(own || other), so many words at a time."""
    n_words, n_tokens = own.shape
    targets = torch.zeros(n_tokens, dtype=torch.long) if targets is None else targets
    mine, theirs = Predicted(targets, n_tokens), Predicted(targets, other.shape[1], columns)
    divergence = Divergence(mine, theirs)
    for start in range(0, n_words, at_once):
        words = slice(start, min(start + at_once, n_words))
        seen, compared = (
            found.see(words, given[words].clone(), torch.empty_like(given[words]))
            for found, given in ((mine, own), (theirs, other))
        )
        divergence.add(seen, compared, torch.empty_like(own[words]))
    return mine.cross_entropy_nats(), divergence.nats()


@pytest.mark.parametrize(("n_words", "n_tokens"), [(50_257, 20), (256_000, 3), (7, 400), (1, 1)])
def test_a_large_vocabulary_costs_no_digits(n_words: int, n_tokens: int) -> None:
    given = logits(n_words, n_tokens, 0)
    expected = -given.double().log_softmax(dim=0)
    for targets in (torch.arange(n_tokens) % n_words, given.argmax(dim=0), given.argmin(dim=0)):
        found, _ = losses(given, given, targets=targets)
        # A unit in the last place of the largest of them, about 40 in size, is 4e-6.
        assert (found - expected[targets, torch.arange(n_tokens)]).abs().max() < 1e-5


@pytest.mark.parametrize("columns", [None, torch.tensor([0, 0, 2, 1])])
@pytest.mark.parametrize("at_once", [1, 64, 3000])
def test_divergences_are_those_of_float64_however_words_are_cut(columns: torch.Tensor | None, at_once: int) -> None:
    own, other = logits(3000, 4, 1), logits(3000, 4, 2)
    p = own.double().log_softmax(dim=0)
    q = (other if columns is None else other[:, columns]).double().log_softmax(dim=0)
    _, found = losses(own, other, columns=columns, at_once=at_once)
    assert torch.allclose(found.double(), (p.exp() * (p - q)).sum(dim=0), rtol=1e-5)


def test_predictions_that_are_close_lose_no_digits_and_equal_ones_differ_in_nothing() -> None:
    own = logits(30_000, 4, 1)
    near = own + 1e-3 * logits(30_000, 4, 2)
    p, q = own.double().log_softmax(dim=0), near.double().log_softmax(dim=0)
    _, found = losses(own, near)
    # A unit in the last place of the largest logits, about 20, is 2e-6: no more is lost, however close they are.
    assert (found - (p.exp() * (p - q)).sum(dim=0)).abs().max() < 2e-6
    assert losses(own, own.clone())[1].tolist() == [0.0] * 4


def test_logits_too_large_for_float32_exponentials_are_none_for_us() -> None:
    given = torch.tensor([[1000.0, -1000.0], [0.0, 1000.0]])
    for at_once in (1, 2):
        assert torch.equal(losses(given, given, at_once=at_once)[0], torch.tensor([0.0, 2000.0]))


def test_what_all_logits_have_in_common_costs_no_digits() -> None:
    own = (logits(3000, 4, 1) * 256).round() / 256  # exact when moved, too
    other = own + (logits(3000, 4, 2) / 5).round() / 64
    expected = losses(own, other)
    for moved in (-4096.0, 1024.0):
        assert torch.equal(losses(own + moved, other)[0], expected[0])
        assert torch.allclose(losses(own + moved, other)[1], expected[1], rtol=1e-6)
        assert torch.allclose(losses(own, other + moved)[1], expected[1], rtol=1e-6)


def test_what_is_no_number_is_not_hidden() -> None:
    own, other = logits(30, 2, 1), logits(30, 2, 2)
    own[17, 0] = torch.nan
    cross_entropy, divergence = losses(own, other, at_once=7)
    assert cross_entropy.isnan().tolist() == divergence.isnan().tolist() == [True, False]
