"""Losses by token are those of float64, to the rounding of float32."""

from __future__ import annotations

import pytest
import torch

from saetransfer.tasks.losses import kl_nats, log_probabilities


def logits(n_words: int, n_tokens: int, seed: int) -> torch.Tensor:
    return 5 * torch.randn(n_words, n_tokens, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n_words", "n_tokens"), [(50_257, 20), (256_000, 3), (7, 400), (1, 1)])
def test_log_probabilities_lose_no_digits_over_a_large_vocabulary(n_words: int, n_tokens: int) -> None:
    given = logits(n_words, n_tokens, 0)
    expected = given.double().log_softmax(dim=0)
    # A unit in the last place of the largest of them, about 40 in size, is 4e-6.
    assert (log_probabilities(given.clone()) - expected).abs().max() < 1e-5
    assert (log_probabilities(given.clone()).double().exp().sum(dim=0) - 1).abs().max() < 1e-5


def test_logits_too_large_for_float32_exponentials_are_as_well() -> None:
    given = torch.tensor([[1000.0, -1000.0], [0.0, 1000.0]])
    assert torch.equal(log_probabilities(given), torch.tensor([[0.0, -2000.0], [-1000.0, 0.0]]))


@pytest.mark.parametrize("columns", [None, torch.tensor([0, 0, 2, 1])])
def test_divergences_are_those_of_float64_and_nothing_for_equals(columns: torch.Tensor | None) -> None:
    own, other = log_probabilities(logits(30_000, 4, 1)), log_probabilities(logits(30_000, 4, 2))
    each = other if columns is None else other[:, columns]
    expected = (own.double().exp() * (own.double() - each.double())).sum(dim=0)
    assert torch.allclose(kl_nats(own, own.exp(), other, columns).double(), expected, rtol=1e-5)
    assert kl_nats(own, own.exp(), own, None).tolist() == [0.0] * 4
