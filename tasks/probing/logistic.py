"""Logistic regression as it is fitted here: scikit-learn's, L2, its strength chosen by cross-validation.

    min_{w, b}  |w|^2 / 2 + C sum_i log(1 + exp(-y_i (w . x_i + b)))

Features are standardised with the means and standard deviations of the training split, and divided by the square root
of their number. Pooled latents of one SAE differ by orders of magnitude in scale, and activations differ between sites
and models: without this, one grid of C would mean something else for each. With it, |x_i|^2 is about 1 and C is the
prior variance of a logit, for one feature as for a thousand; and the scale of a latent has no influence.

How it is made fast without another result:

- L2 is invariant to rotations. With fewer examples n than features, x_i lies in the space that the n examples span;
  with X X' = L L' (Cholesky), fitting on the rows of L gives the same w . x_i, and w = X' L'^-1 v.
- liblinear's trust-region Newton method: on matrices of this size it needs a third to a half of the time of `lbfgs`,
  and reaches the optimum where the classes can be separated. It regularises the intercept too, so it is given a column
  of 10: the intercept is regularised a hundred times less than a weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sklearn
from jaxtyping import Bool, Float, Int
from scipy.linalg import solve_triangular
from sklearn.linear_model import LogisticRegression

C_GRID = (1.0, 10.0, 100.0)
N_FOLDS = 2
_INTERCEPT_COLUMN = 10
_JITTER = 1e-9
"""Added to the squared norms (about 1) so that repeated or constant examples leave the Cholesky factor defined."""
_SMALLEST_SPREAD = 1e-6
"""A feature whose standard deviation is a smaller share of its largest value is constant up to float32 rounding."""


@dataclass(frozen=True)
class Scaling:
    """Constants of the training split that standardise features."""

    mean: Float[np.ndarray, " feature"]
    scale: Float[np.ndarray, " feature"]
    """Standard deviation; infinite for a constant feature, which becomes 0 whatever it is elsewhere."""

    def apply(self, features: Float[np.ndarray, "example feature"]) -> Float[np.ndarray, "example feature"]:
        """Standardised features, float64."""
        return (features - self.mean) / self.scale

    def of(self, chosen: Int[np.ndarray, " chosen"]) -> Scaling:
        """The constants of some features."""
        return Scaling(self.mean[chosen], self.scale[chosen])


@dataclass(frozen=True)
class Probe:
    """A linear probe on standardised features."""

    weights: Float[np.ndarray, " feature"]
    intercept: float
    c: float
    """The strength that was chosen."""

    def unscaled(self, scaling: Scaling) -> tuple[Float[np.ndarray, " feature"], float]:
        """Weights and intercept for features as they are."""
        weights = self.weights / scaling.scale
        return weights, self.intercept - float(scaling.mean @ weights)


def scaling_of(features: Float[np.ndarray, "example feature"]) -> Scaling:
    """Standardisation by these examples; constant features become 0."""
    mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    constant = deviation <= _SMALLEST_SPREAD * np.abs(features).max(axis=0)
    return Scaling(mean, np.where(constant, np.inf, deviation))


def fit_probe(
    features: Float[np.ndarray, "example feature"], positive: Bool[np.ndarray, " example"], c: float | None = None
) -> Probe:
    """Fit a probe on standardised features of both classes; `c` is chosen by cross-validation if it is not given."""
    n_examples, n_features = features.shape
    factor = _factor(features) if n_examples < n_features else None
    x = features / np.sqrt(n_features) if factor is None else factor
    # The arrays are known to be finite: scikit-learn's checks would take longer than the small fits.
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        c = _chosen_c(x, positive) if c is None else c
        weights, intercept = _fit(x, positive, c)
    if factor is None:
        return Probe(weights / np.sqrt(n_features), intercept, c)
    return Probe(features.T @ solve_triangular(factor, weights, trans=1, lower=True) / n_features, intercept, c)


def _factor(features: Float[np.ndarray, "example feature"]) -> Float[np.ndarray, "example example"]:
    products = features @ features.T / features.shape[1]
    products[np.diag_indices_from(products)] += _JITTER
    return np.linalg.cholesky(products)


def _fit(
    x: Float[np.ndarray, "example feature"], positive: Bool[np.ndarray, " example"], c: float
) -> tuple[Float[np.ndarray, " feature"], float]:
    model = LogisticRegression(C=c, solver="liblinear", intercept_scaling=_INTERCEPT_COLUMN, max_iter=1000)
    model.fit(x, positive)
    return model.coef_[0], float(np.asarray(model.intercept_)[0])


def _chosen_c(x: Float[np.ndarray, "example feature"], positive: Bool[np.ndarray, " example"]) -> float:
    """The C of the grid with the smallest log-loss on held-out folds of these examples."""
    fold = np.empty(len(x), dtype=int)
    for side in (positive, ~positive):
        fold[side] = np.arange(side.sum()) % N_FOLDS
    losses = [sum(_held_out_loss(x, positive, fold == held_out, c) for held_out in range(N_FOLDS)) for c in C_GRID]
    return C_GRID[int(np.argmin(losses))]


def _held_out_loss(
    x: Float[np.ndarray, "example feature"],
    positive: Bool[np.ndarray, " example"],
    held_out: Bool[np.ndarray, " example"],
    c: float,
) -> float:
    weights, intercept = _fit(x[~held_out], positive[~held_out], c)
    score = x[held_out] @ weights + intercept
    return float(np.logaddexp(0.0, np.where(positive[held_out], -score, score)).sum())
