"""What the reconstruction metrics are, as properties."""

from __future__ import annotations

import pytest
import torch

from saetransfer.tasks.reconstruction import Reconstruction
from tests.tasks.cells import Scene, latents

TASK = Reconstruction()
SCENE = Scene()
F = latents(len(SCENE.x))
NOISE = torch.randn(SCENE.x.shape, generator=torch.Generator().manual_seed(9))


def test_a_perfect_reconstruction_leaves_nothing() -> None:
    found = SCENE.figures(TASK, (F, SCENE.x.clone()))
    assert (found["fvu"].value, found["explained_variance"].value, found["mse"].value) == (0.0, 1.0, 0.0)
    for name in ("cosine", "l2_ratio", "relative_bias"):
        assert found[name].value == pytest.approx(1.0, abs=1e-6)


def test_the_mean_explains_nothing() -> None:
    mean = SCENE.x.double().mean(dim=0).float().expand_as(SCENE.x)
    found = SCENE.figures(TASK, (F, mean))
    assert found["explained_variance"].value == pytest.approx(0.0, abs=1e-6)
    assert found["fvu"].value == pytest.approx(1.0, abs=1e-6)


def test_explained_variance_is_that_of_the_textbook() -> None:
    y = SCENE.x + 0.4 * NOISE
    x64, y64 = SCENE.x.double(), y.double()
    textbook = 1.0 - ((x64 - y64) ** 2).sum() / ((x64 - x64.mean(dim=0)) ** 2).sum()
    assert SCENE.figures(TASK, (F, y))["explained_variance"].value == pytest.approx(textbook.item(), rel=1e-6)


def test_shifting_activations_and_reconstruction_alike_changes_no_explained_variance() -> None:
    shifted = Scene()
    shifted.x = SCENE.x + 20.0
    here = SCENE.figures(TASK, (F, SCENE.x + 0.4 * NOISE))["explained_variance"].value
    there = shifted.figures(TASK, (F, shifted.x + 0.4 * NOISE))["explained_variance"].value
    assert there == pytest.approx(here, rel=1e-5)


def test_scale_changes_no_ratio_and_scales_the_error_by_its_square() -> None:
    scaled = Scene()
    scaled.x = 8 * SCENE.x
    y = SCENE.x + 0.4 * NOISE
    here, there = SCENE.figures(TASK, (F, y)), scaled.figures(TASK, (F, 8 * y))
    for name in ("explained_variance", "fvu", "cosine", "l2_ratio", "relative_bias"):
        assert there[name].value == pytest.approx(here[name].value, rel=1e-6)
    assert there["mse"].value == pytest.approx(64 * (here["mse"].value or 0), rel=1e-6)


@pytest.mark.parametrize("sizes", [(1,) * 48, (47, 1), (5, 20, 23)])
def test_no_figure_depends_on_how_the_text_is_cut_into_batches(sizes: tuple[int, ...]) -> None:
    y = SCENE.x + 0.4 * NOISE
    whole, cut = SCENE.figures(TASK, (F, y)), SCENE.figures(TASK, (F, y), sizes)
    for name, estimate in whole.items():
        assert cut[name].value == pytest.approx(estimate.value, rel=1e-6), name
        assert cut[name].ci == (None if estimate.ci is None else pytest.approx(estimate.ci, rel=1e-6)), name


def test_latents_are_counted_by_whether_they_are_zero() -> None:
    f = torch.zeros(48, 200)
    f[:, 0] = 1.0  # fires always
    f[:10, 1] = -2.0  # a negative latent fires too
    f[0, 2] = 0.5  # fires on 1 of 48 tokens: more than 1 %, not more than 10 %
    found = SCENE.figures(TASK, (f, SCENE.x))
    assert found["l0"].value == pytest.approx((48 + 10 + 1) / 48)
    assert found["l1"].value == pytest.approx((48 * 1.0 + 10 * 2.0 + 0.5) / 48)
    assert found["alive_fraction"].value == pytest.approx(3 / 200)
    assert found["density_over_1pct"].value == pytest.approx(3 / 200)
    assert found["density_over_10pct"].value == pytest.approx(2 / 200)


def test_a_reconstruction_of_zeros_is_measured_not_lost() -> None:
    found = SCENE.figures(TASK, (torch.zeros(48, 10), torch.zeros_like(SCENE.x)))
    assert found["cosine"].value == 0.0
    assert found["l0"].value == 0.0
    assert found["relative_bias"].value is None
    assert found["relative_bias"].reason == "activations and reconstructions are orthogonal"


def test_activations_without_variance_have_a_reason_in_place_of_a_value() -> None:
    constant = Scene()
    constant.x = torch.full_like(SCENE.x, 2.5)
    found = constant.figures(TASK, (F, constant.x + NOISE))
    assert found["explained_variance"].value is None
    assert found["explained_variance"].reason == "the activations have no variance"


def test_a_nan_in_the_activations_gives_reasons_never_numbers() -> None:
    broken = Scene()
    broken.x[3, 2] = float("nan")
    found = broken.figures(TASK, (F, broken.x + NOISE))
    for name in ("explained_variance", "mse", "l2_ratio"):
        assert found[name].value is None, name
        assert found[name].reason, name


def test_half_precision_activations_neither_overflow_nor_drift() -> None:
    half = Scene()
    half.x = (SCENE.x * 300).half()  # squares reach 1e6, float16 ends at 65,504
    y = half.x.float() + 100 * NOISE
    exact = Scene()
    exact.x = half.x.float()
    low, high = half.figures(TASK, (F, y)), exact.figures(TASK, (F, y))
    assert low["mse"].value == pytest.approx(high["mse"].value, rel=1e-6)
    assert low["explained_variance"].value == pytest.approx(high["explained_variance"].value, rel=1e-4)
