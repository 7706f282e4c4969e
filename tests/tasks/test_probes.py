"""Fits and their figures against other people's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit

from saetransfer.tasks.estimate import estimate
from saetransfer.tasks.metric import Metric, ratio
from saetransfer.tasks.probing.logistic import C_GRID, N_FOLDS, fit_probe, scaling_of
from saetransfer.tasks.probing.problems import Problem, Selection
from saetransfer.tasks.probing.scores import answers, auc_values, mean_values, pseudo_auc, right_answers
from saetransfer.tasks.task import Sums


def two_classes(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features, some of which tell two equal classes apart."""
    generator = np.random.default_rng(seed)
    positive = np.arange(n) < n // 2
    features = generator.normal(size=(n, d)) * generator.uniform(0.1, 10, d) + 3.0
    features[:, :4] += positive[:, None] * features[:, :4].std(axis=0)
    return scaling_of(features).apply(features), positive


@pytest.mark.parametrize(("n", "d"), [(120, 6), (60, 300)])
@pytest.mark.parametrize("c", C_GRID)
def test_a_fit_is_that_of_scikit_learns_default_solver(n: int, d: int, c: float) -> None:
    features, positive = two_classes(n, d)
    ours = fit_probe(features, positive, c)
    theirs = LogisticRegression(C=c, tol=1e-8, max_iter=10_000).fit(features / np.sqrt(d), positive)
    scores = theirs.decision_function(features / np.sqrt(d))
    # liblinear regularises the intercept, a hundred times less than a weight, and stops at a tolerance of 1e-4.
    assert features @ ours.weights + ours.intercept == pytest.approx(scores, abs=0.02 * np.abs(scores).max())


def test_the_strength_is_what_scikit_learns_grid_search_takes() -> None:
    chosen = []
    for seed, n_told in enumerate((0, 2, 4, 40)):
        features, positive = two_classes(80, 40, seed)
        features[:, 4:n_told] += 0.4 * positive[:, None]
        features[:, n_told:4] = np.random.default_rng(seed).normal(size=(80, max(0, 4 - n_told)))
        fold = np.concatenate([np.arange(40) % N_FOLDS, np.arange(40) % N_FOLDS])
        search = GridSearchCV(
            LogisticRegression(solver="liblinear", intercept_scaling=10),
            {"C": C_GRID},
            scoring="neg_log_loss",
            cv=PredefinedSplit(fold),
        )
        search.fit(features / np.sqrt(40), positive)
        chosen.append(search.best_params_["C"])
        assert fit_probe(features, positive).c == chosen[-1]
    assert len(set(chosen)) > 1


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_the_auc_is_that_of_scikit_learn_ties_included(decimals: int) -> None:
    generator = np.random.default_rng(decimals)
    positive = generator.random(90) < 0.3
    scores = np.round(generator.normal(size=90) + positive, decimals)
    assert pseudo_auc(scores, positive).mean() == pytest.approx(roc_auc_score(positive, scores), abs=1e-14)


def test_scores_that_say_nothing_and_all() -> None:
    positive = np.arange(20) < 10
    assert pseudo_auc(np.zeros(20), positive).mean() == 0.5
    assert pseudo_auc(positive.astype(float), positive).mean() == 1.0
    assert pseudo_auc(-positive.astype(float), positive).mean() == 0.0


def some_problem(n_units: int, rows: np.ndarray) -> tuple[Problem, np.ndarray]:
    """A problem on some of the test examples, and scores of all."""
    generator = np.random.default_rng(3)
    selection = Selection(rows, np.arange(len(rows)) < len(rows) // 2)
    scores = generator.normal(size=(n_units, 1))
    scores[rows[selection.positive]] += 1.0
    return Problem("yes", selection, selection), scores


def figure(name: str) -> Metric:
    return Metric(
        name=name,
        unit="1",
        higher_is_better=True,
        definition="a figure",
        source="the textbook",
        compute=lambda totals: np.mean(ratio(totals[name], totals["n"]), axis=-1),
        undefined="",
        counted="n",
    )


def test_the_interval_of_an_auc_is_that_of_a_plain_bootstrap() -> None:
    rows = np.random.default_rng(0).permutation(300)[:200]
    problem, scores = some_problem(300, rows)
    sums = {"n": answers((problem,), 300), "auc": auc_values((problem,), scores)}
    ours = estimate([figure("auc")], Sums({"examples": sums}))["auc"].ci
    chosen = np.zeros(300)
    chosen[rows] = np.where(problem.test.positive, 1, -1)

    def auc(scores: np.ndarray, side: np.ndarray) -> float:
        return stats.mannwhitneyu(scores[side > 0], scores[side < 0], method="asymptotic").statistic / (
            (side > 0).sum() * (side < 0).sum()
        )

    theirs = stats.bootstrap(
        (scores[:, 0], chosen),
        auc,
        paired=True,
        vectorized=False,
        n_resamples=999,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert ours is not None
    # 1,000 draws place a quantile within about a twentieth of the interval's width, on both sides.
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.15 * (theirs.high - theirs.low))


def test_one_number_an_example_has_the_mean_and_the_interval_of_the_figure() -> None:
    rows = np.random.default_rng(0).permutation(300)
    problems, columns = zip(*(some_problem(300, part) for part in (rows[:80], rows[60:200])), strict=True)
    scores = np.concatenate(columns, axis=1)
    answered, right = answers(problems, 300), right_answers(problems, scores)
    exact = estimate([figure("right")], Sums({"examples": {"n": answered, "right": right}}))["right"]
    single = {"n": np.ones((300, 1)), "right": mean_values(right, answered)[:, None]}
    paired = estimate([figure("right")], Sums({"examples": single}))["right"]
    assert paired.value == pytest.approx(exact.value, abs=1e-14)
    assert exact.ci is not None
    assert paired.ci == pytest.approx(exact.ci, abs=0.1 * (exact.ci[1] - exact.ci[0]))
