"""Round-to-nearest: what a grid is, and what it must not do."""

from __future__ import annotations

import pytest
import torch

from saetransfer.registry.compressors.method import compress
from saetransfer.registry.compressors.simulated.grid import Grid
from saetransfer.registry.compressors.verify import max_levels
from saetransfer.registry.errors import Impossible
from tests.registry.compressors.common import compressed, compressor, verified, weights
from tests.toys import toy_model

GRIDS = [(bits, symmetric) for bits in (2, 3, 4, 8) for symmetric in (True, False)]


def groups() -> torch.Tensor:
    """Rows of different scale and offset, a row of zeros and rows of one sign."""
    rows = torch.randn(40, 32, generator=torch.Generator().manual_seed(0))
    rows *= torch.logspace(-3, 3, 40)[:, None]
    rows[0], rows[1], rows[2] = 0, rows[1].abs() + 1, -rows[2].abs() - 1
    return rows


def step_of(rows: torch.Tensor, bits: int, symmetric: bool) -> torch.Tensor:
    low, high = rows.amin(1, keepdim=True).clamp(max=0), rows.amax(1, keepdim=True).clamp(min=0)
    if symmetric:
        return torch.maximum(-low, high) / (2 ** (bits - 1) - 1)
    return (high - low) / (2**bits - 1)


def rounded(rows: torch.Tensor, bits: int, symmetric: bool) -> torch.Tensor:
    return Grid.fit(rows, bits, symmetric).snap(rows)


@pytest.mark.parametrize(("bits", "symmetric"), GRIDS)
def test_no_weight_moves_by_more_than_half_a_step(bits: int, symmetric: bool) -> None:
    rows = groups()
    error = (rounded(rows, bits, symmetric) - rows).abs()
    assert (error <= 0.5 * step_of(rows, bits, symmetric) * (1 + 1e-4)).all()


@pytest.mark.parametrize(("bits", "symmetric"), GRIDS)
def test_a_row_holds_at_most_two_to_the_bits_levels(bits: int, symmetric: bool) -> None:
    assert max_levels(rounded(groups(), bits, symmetric), None) <= 2**bits - (1 if symmetric else 0)


@pytest.mark.parametrize(("bits", "symmetric"), GRIDS)
def test_rounding_what_is_rounded_changes_nothing(bits: int, symmetric: bool) -> None:
    once = rounded(groups(), bits, symmetric)
    torch.testing.assert_close(rounded(once, bits, symmetric), once, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("bits", "symmetric"), GRIDS)
def test_zeros_stay_zeros(bits: int, symmetric: bool) -> None:
    rows = groups()
    rows[:, ::3] = 0
    assert (rounded(rows, bits, symmetric)[:, ::3] == 0).all()


def test_more_bits_and_smaller_groups_are_closer_to_dense() -> None:
    model = toy_model("gpt2")
    names = ["rtn-2", "rtn-3", "rtn-4", "rtn-8"]
    errors = [verified(model, compressor(name))[1].weight_error for name in names]
    assert errors == sorted(errors, reverse=True)
    grouped = compressor({"name": "g", "method": "rtn", "bits": 4, "group_size": 8})
    assert verified(model, grouped)[1].weight_error < errors[2]


def test_scales_belong_to_output_rows_also_where_the_weight_is_stored_transposed() -> None:
    model = toy_model("gpt2")
    for name, weight in weights(compressed(model, "rtn-3")).items():
        assert max_levels(weight, None) <= 8, name
        assert max_levels(weight.T.contiguous(), None) > 8, name


def test_effective_bits_count_scales_and_zero_points() -> None:
    model = toy_model("gpt2")
    symmetric = {"name": "s", "method": "rtn", "bits": 4, "group_size": 32}
    assert verified(model, compressor(symmetric))[1].effective_bits == 4 + 16 / 32
    assert verified(model, compressor({**symmetric, "symmetric": False}))[1].effective_bits == 4 + 20 / 32


def test_a_group_size_that_does_not_divide_is_refused_before_anything_changes() -> None:
    model = toy_model("llama")
    before = weights(model)
    chosen = compressor({"name": "g", "method": "rtn", "bits": 4, "group_size": 32})
    with pytest.raises(Impossible, match=r"Group size 32 does not divide the inputs of 3 layers, as .*down_proj \(48"):
        compress(model, chosen, None)
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())


@pytest.mark.parametrize("last", ["rtn-4", "rtn-2", {"name": "a", "method": "rtn", "bits": 3, "symmetric": False}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quantising_what_was_pruned_keeps_the_zeros(last, dtype: torch.dtype) -> None:
    model = toy_model("gpt2", dtype=dtype)
    pruned = weights(compressed(model, "wanda-50"))
    chained = {"name": "both", "chain": ["wanda-50", last]}
    result, realised = verified(model, compressor(chained))
    assert realised.verified
    assert realised.sparsity >= 0.5
    for name, weight in weights(result).items():
        assert (weight[pruned[name] == 0] == 0).all()
