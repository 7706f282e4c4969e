"""First-letter probes: how a letter is read off activations, and which latents speak for it.

Both are one-against-all logistic regressions as SAEBench 0.6.0 fits them (`probing.py`, `k_sparse_probing.py`),
each solved to its optimum in place of 50 epochs of Adam from a random start: a positive example weighs as much as
(negatives / positives) negative ones.

    probe on activations:  mean_i w_i BCE(y_i, x_i . p + b) + 26 * 1e-4 / 2 |p|^2        (weight decay 1e-4, 26 letters)
    L1 probe on latents:   mean_i w_i BCE(y_i, f_i . v + b) + 0.01 |v|_1

Main latents: the k latents with the largest *positive* weight in the L1 probe, k from 1 while the F1 score of a
balanced logistic regression on these k latents rises by more than 0.03, at most 10. As in SAEBench, F1 scores are those
on the test words.

Activations and latents are divided by one number each (root mean square of their centred channels, of the latents that
are active), so that neither depends on the scale of a model; SAEBench's do.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from .examples import Examples, SiteExamples

N_LETTERS = 26
PROBE_DECAY = 1e-4
L1_PENALTY = 0.01
_L1_STEPS = 300

Labels = Bool[np.ndarray, " word"]


@dataclass(frozen=True)
class LetterProbe:
    """How one letter is read off activations."""

    direction: Float[np.ndarray, " d_in"]
    """Unit vector in the units of activations."""
    fires: Bool[np.ndarray, " test_word"]
    """Whether the probe says this letter, on test words."""
    f1: float
    """On test words."""


def is_letter(labels: Sequence[str | None], letter: str) -> Labels:
    """Which words begin with a letter."""
    return np.asarray([label == letter for label in labels], dtype=bool)


def f1_score(expected: Labels, predicted: Labels) -> float:
    """Harmonic mean of precision and recall, of words of which some are expected."""
    return float(2 * (expected & predicted).sum() / (expected.sum() + predicted.sum()))


def probes(site: SiteExamples, attribute: str) -> Mapping[str, LetterProbe]:
    """A probe for every letter that words to fit on and to test on begin with, and others do not."""
    train, test = site.train, site.test
    centre = train.activations.mean(axis=0, dtype=np.float64)
    x = train.activations - centre
    scale = float(np.sqrt(np.square(x).mean())) or 1.0
    found = {}
    for letter in sorted({label for label in train.labels[attribute] if label is not None}):
        y, expected = is_letter(train.labels[attribute], letter), is_letter(test.labels[attribute], letter)
        if y.all() or not expected.any():
            continue
        strength = 1 / (N_LETTERS * PROBE_DECAY * len(y))
        fitted = _fit(LogisticRegression(C=strength, max_iter=1000), x / scale, y, _sample_weights(y))
        fires = fitted.decision_function((test.activations - centre) / scale) > 0
        direction = fitted.coef_[0] / np.linalg.norm(fitted.coef_[0])
        found[letter] = LetterProbe(direction, fires, f1_score(expected, fires))
    return found


def _sample_weights(labels: Bool[np.ndarray, "word ..."]) -> Float[np.ndarray, "word ..."]:
    """A positive example weighs as much as (negatives / positives) negative ones."""
    n_positive = labels.sum(axis=0)
    return np.where(labels, (len(labels) - n_positive) / n_positive, 1.0)


def _fit(
    model: LogisticRegression,
    x: Float[np.ndarray, "word channel"],
    y: Labels,
    weights: Float[np.ndarray, " word"] | None = None,
) -> LogisticRegression:
    with warnings.catch_warnings():
        # Words that can be told apart without fault ask for ever larger weights, whose direction has long settled.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y, sample_weight=weights)


def l1_weights(
    latents: Float[np.ndarray, "word latent"], labels: Bool[np.ndarray, "word letter"]
) -> Float[np.ndarray, "latent letter"]:
    """Weights of the L1 probes of all letters, by accelerated proximal gradient (FISTA, Beck and Teboulle 2009)."""
    n = len(latents)
    f, y = latents.astype(np.float32), labels.astype(np.float32)
    weights = (_sample_weights(labels) / n).astype(np.float32)
    # The curvature of the loss is at most a quarter of the weighted squared norms, the bias's among them.
    step = 4.0 / ((np.square(f).sum(axis=1) + 1.0) @ weights)
    v = ahead = np.zeros((f.shape[1], y.shape[1]), np.float32)
    b = b_ahead = np.zeros(y.shape[1], np.float32)
    momentum = 1.0
    for _ in range(_L1_STEPS):
        pull = weights * (1.0 / (1.0 + np.exp(-np.clip(f @ ahead + b_ahead, -60.0, 60.0))) - y)
        moved = ahead - step * (f.T @ pull)
        after = np.sign(moved) * np.maximum(np.abs(moved) - step * L1_PENALTY, 0.0)
        b_after = b_ahead - step * pull.sum(axis=0)
        faster = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        ahead = after + (momentum - 1.0) / faster * (after - v)
        b_ahead = b_after + (momentum - 1.0) / faster * (b_after - b)
        v, b, momentum = after, b_after, faster
    return v


def main_latents(
    examples: Examples, attribute: str, letters: Sequence[str], most: int, rise: float
) -> dict[str, list[int]]:
    """The main latents of every letter; none for a letter that no latent speaks for."""
    train, test = examples.train.values, examples.test.values
    alive = np.flatnonzero((train != 0).any(axis=0))
    if not letters or not alive.size:
        return {letter: [] for letter in letters}
    scale = float(np.sqrt(np.square(train[train != 0], dtype=np.float64).mean()))
    of_train, of_test = examples.site.train.labels[attribute], examples.site.test.labels[attribute]
    y = np.stack([is_letter(of_train, letter) for letter in letters], axis=1)
    weights = l1_weights(train[:, alive] / scale, y)
    found = {}
    for column, letter in enumerate(letters):
        order = np.argsort(-weights[:, column], kind="stable")
        ranked = alive[order[weights[order, column] > 0]][:most]
        expected = is_letter(of_test, letter)
        taken = _accepted(train[:, ranked] / scale, y[:, column], test[:, ranked] / scale, expected, rise)
        found[letter] = ranked[:taken].tolist()
    return found


def _accepted(
    train: Float[np.ndarray, "word k"],
    y: Labels,
    test: Float[np.ndarray, "test_word k"],
    expected: Bool[np.ndarray, " test_word"],
    rise: float,
) -> int:
    """How many of the ranked latents are taken: one, and each further one while it raises F1 by more than `rise`."""
    best = -np.inf
    for k in range(1, train.shape[1] + 1):
        fitted = _fit(LogisticRegression(max_iter=500, class_weight="balanced"), train[:, :k], y)
        score = f1_score(expected, np.asarray(fitted.predict(test[:, :k]), dtype=bool))
        if score <= best + rise:
            return k - 1
        best = score
    return train.shape[1]
