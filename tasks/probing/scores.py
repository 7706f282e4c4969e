"""Accuracy and AUC of probes as sums by test example.

Accuracy of a problem is a ratio of sums over its test examples: right answers over answers (a logit above 0 says yes).

AUC is the share of pairs (a positive i, a negative j) that the scores s order rightly, ties counting half: a two-sample
U-statistic, and no sum over examples. Its structural components (DeLong, DeLong and Clarke-Pearson 1988)

    V_i = mean over j of [s_i > s_j] + [s_i = s_j] / 2   for a positive i, and likewise for a negative j,

average to the AUC A on either side, and its variance is that of mean(V_i) + mean(V_j). With n examples, m of them on
the side of example u, the pseudo-value

    P_u = A + (n / m) (V_u - A)

has the mean A exactly, and resampling a mean of P resamples A's linearisation: sum_u w_u P_u / sum_u w_u deviates from
A by mean_i w_i (V_i - A) + mean_j w_j (V_j - A), as the U-statistic does to first order. So AUC too is a ratio of sums,
with the same denominator as accuracy.

The figure of an attribute is the mean over its problems. For a difference between two cells, one number an example has
to do: the pseudo-values of that mean, A + n mean_p (x_up - A_p s_up) / sum_u s_up (x: right answers, s: answers,
n: examples of the set), which again average to the figure exactly.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from .problems import Problem

ByProblem = Float[np.ndarray, "unit problem"]
"""A number for each test example and problem; 0 where the problem does not look at the example."""


def answers(problems: tuple[Problem, ...], n_units: int) -> ByProblem:
    """1 where a problem looks at a test example."""
    return _by_problem(problems, n_units, [np.ones(len(problem.test.rows)) for problem in problems])


def right_answers(problems: tuple[Problem, ...], scores: Float[np.ndarray, "unit problem"]) -> ByProblem:
    """1 where a probe answers rightly: a logit above 0 says yes."""
    columns = [
        ((scores[problem.test.rows, i] > 0) == problem.test.positive).astype(np.float64)
        for i, problem in enumerate(problems)
    ]
    return _by_problem(problems, len(scores), columns)


def auc_values(problems: tuple[Problem, ...], scores: Float[np.ndarray, "unit problem"]) -> ByProblem:
    """Pseudo-values of each problem's AUC."""
    columns = [pseudo_auc(scores[problem.test.rows, i], problem.test.positive) for i, problem in enumerate(problems)]
    return _by_problem(problems, len(scores), columns)


def not_finite(problems: tuple[Problem, ...], n_units: int) -> ByProblem:
    """What stands for the answers of probes that saw something not finite, in fitting or in testing."""
    return _by_problem(problems, n_units, [np.full(len(problem.test.rows), np.nan) for problem in problems])


def pseudo_auc(scores: Float[np.ndarray, " row"], positive: Bool[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    """An AUC's pseudo-values, whose mean it is."""
    components = np.empty(len(scores))
    components[positive] = _share_below(scores[positive], scores[~positive])
    components[~positive] = _share_below(-scores[~positive], -scores[positive])
    auc = components[positive].mean()
    n_own_side = np.where(positive, positive.sum(), (~positive).sum())
    return auc + len(scores) / n_own_side * (components - auc)


def _share_below(scores: Float[np.ndarray, " row"], others: Float[np.ndarray, " other"]) -> Float[np.ndarray, " row"]:
    """The share of the others that lies below each score; ties count half."""
    others = np.sort(others)
    return (np.searchsorted(others, scores, "left") + np.searchsorted(others, scores, "right")) / (2 * len(others))


def mean_values(values: ByProblem, answered: ByProblem) -> Float[np.ndarray, " unit"]:
    """Pseudo-values of the mean over problems, whose mean over the examples of the set it is."""
    n = answered.sum(axis=0)
    means = values.sum(axis=0) / n
    return means.mean() + len(values) * ((values - means * answered) / n).mean(axis=1)


def _by_problem(problems: tuple[Problem, ...], n_units: int, columns: list[Float[np.ndarray, " _"]]) -> ByProblem:
    found = np.zeros((n_units, len(problems)))
    for i, (problem, column) in enumerate(zip(problems, columns, strict=True)):
        found[problem.test.rows, i] = column
    return found
