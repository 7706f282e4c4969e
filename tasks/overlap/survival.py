"""Which latents survive: can it be told from what is known of them on the dense state alone?

A logistic regression predicts "survived" of the active latents from six dense statistics (our choice): log10 of the
density, mean, standard deviation and highest value where the latent fires, norm of its decoder direction, and the
highest cosine of that with any other direction of its dictionary. The figure is the area under the ROC curve on latents
left out (5 stratified folds, seeded), mean over folds: 0.5 where nothing can be told, 1 where everything can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ..metric import UnitSums

N_FOLDS = 5
SMALLEST_CLASS = 10
"""Latents that must have survived, and that must not have, for two of each to be in every fold."""
ONE_SIDED = (
    f"fewer than {SMALLEST_CLASS} active latents have survived, or fewer than {SMALLEST_CLASS} have not: "
    "too few to tell them apart"
)

Statistics = Mapping[str, Float[np.ndarray, " latent"]]
"""Dense statistics by name, one number a latent."""


@dataclass(frozen=True)
class Prediction:
    """How well dense statistics tell which latents survive."""

    auc: float
    """Mean over folds of the area under the ROC curve, on the latents left out."""
    auc_by_fold: tuple[float, ...]
    coefficients: dict[str, float]
    """Log odds of surviving a standard deviation of each statistic, from all active latents."""


def dense_statistics(
    sums: UnitSums,
    highest: Float[np.ndarray, " d_sae"],
    norm: Float[np.ndarray, " d_sae"],
    highest_cosine: Float[np.ndarray, " d_sae"],
) -> Statistics:
    """What is known of latents on the dense state; means and deviations are over the tokens where they fire."""
    firings, total, squared = (sums[f"dense_{name}"].sum(axis=0) for name in ("firings", "sum", "squared"))
    fired = np.maximum(firings, 1.0)
    mean = total / fired
    return {
        "log_density": np.log10(fired / sums["block_tokens"].sum()),
        "mean": mean,
        "deviation": np.sqrt(np.maximum(squared / fired - np.square(mean), 0.0)),
        "max": highest,
        "decoder_norm": norm,
        # A direction of zeros, or one without company, is near to none.
        "max_decoder_cosine": np.nan_to_num(highest_cosine),
    }


def predict_survival(statistics: Statistics, survived: Bool[np.ndarray, " latent"]) -> Prediction | None:
    """How well the statistics of active latents tell which have survived; None where too few have, or have not."""
    # Half a second to import, which commands that only name tasks need not wait for.
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if min(survived.sum(), (~survived).sum()) < SMALLEST_CLASS:
        return None
    x = np.column_stack(list(statistics.values()))
    regression = LogisticRegression(C=1.0, solver="newton-cholesky")
    model = make_pipeline(StandardScaler(), regression)
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    aucs = [
        float(roc_auc_score(survived[test], model.fit(x[train], survived[train]).decision_function(x[test])))
        for train, test in folds.split(x, survived)
    ]
    model.fit(x, survived)
    coefficients = {name: float(weight) for name, weight in zip(statistics, regression.coef_[0], strict=True)}
    return Prediction(float(np.mean(aucs)), tuple(aucs), coefficients)
