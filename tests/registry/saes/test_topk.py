"""TopK by groups against SAELens' own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sae_lens.saes.topk_sae import TopK

from saetransfer.registry.saes.topk import GroupedTopK


@settings(deadline=None)
@given(k=st.integers(1, 40), d_sae=st.integers(40, 700), shape=st.sampled_from([(3,), (2, 5), (1, 1, 4), (0,)]))
def test_it_gives_what_saelens_gives(k: int, d_sae: int, shape: tuple[int, ...]) -> None:
    x = torch.randn(*shape, d_sae, generator=torch.Generator().manual_seed(k * d_sae))
    assert torch.equal(GroupedTopK(k)(x), TopK(k)(x))


def test_of_equal_values_it_keeps_as_many() -> None:
    x = torch.randint(-1, 3, (64, 512), generator=torch.Generator().manual_seed(0)).float()
    ours, theirs = GroupedTopK(4)(x), TopK(4)(x)
    assert torch.equal(ours.sort(dim=1).values, theirs.sort(dim=1).values)
    assert torch.equal(ours[ours > 0], x[ours > 0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_numbers(dtype: torch.dtype) -> None:
    x = torch.randn(8, 256, dtype=torch.float64).to(dtype)
    ours = GroupedTopK(3)(x)
    assert ours.dtype == dtype
    assert torch.equal(ours.sort(dim=1).values, TopK(3)(x).sort(dim=1).values)


def test_gradients_are_those_of_saelens() -> None:
    x = torch.randn(6, 256, requires_grad=True)
    weight = torch.randn(6, 256)
    (ours,) = torch.autograd.grad((GroupedTopK(5)(x) * weight).sum(), x)
    (theirs,) = torch.autograd.grad((TopK(5)(x) * weight).sum(), x)
    assert torch.equal(ours, theirs)
