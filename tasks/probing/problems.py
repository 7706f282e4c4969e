"""What probes are asked: one value of an attribute against all others, on balanced examples.

Every value with enough examples is a class of its own, one against the rest; an attribute with two values is one
problem. All positive examples are taken and as many negative ones, evenly from the other values, as SAEBench does
(`prepare_probe_data`): so chance is 0.5. Which ones is drawn with a seed that follows from names alone, and depends on
labels, never on activations: the problems are the same on every state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from jaxtyping import Bool, Int, Shaped

from ..examples import SiteExamples, SiteSplit

SMALLEST_TRAIN = 10
"""Training examples that a problem has at least on each side."""
SMALLEST_TEST = 5
"""The same for test examples."""

Labels = Shaped[np.ndarray, " example"]
"""Values of an attribute, None where an example has none."""


@dataclass(frozen=True)
class Selection:
    """Some examples of a split, as many positive as negative ones; the positive ones first, in drawn order."""

    rows: Int[np.ndarray, " row"]
    """Their numbers in the split."""
    positive: Bool[np.ndarray, " row"]

    @property
    def n_each(self) -> int:
        """Examples on each side."""
        return len(self.rows) // 2


@dataclass(frozen=True)
class Problem:
    """One value of an attribute against all others."""

    value: str
    """The positive class."""
    train: Selection
    test: Selection


@dataclass(frozen=True)
class Problems:
    """All problems of an attribute."""

    found: tuple[Problem, ...]
    left_out: Mapping[str, str]
    """Value -> why there is no problem of it; under `*` why there is none at all."""


def sample_name(set_name: str) -> str:
    """The sample whose units are the test examples of a set."""
    return f"examples of {set_name}"


def generator(*names: str) -> np.random.Generator:
    """A random source that follows from names alone."""
    return np.random.default_rng(crc32(" ".join(names).encode()))


def labels_of(split: SiteSplit, attribute: str) -> Labels:
    """The labels as an array, which can be compared with a value."""
    labels = np.empty(len(split.activations), dtype=object)
    labels[:] = list(split.labels[attribute])
    return labels


def problems_of(site: SiteExamples, attribute: str) -> Problems:
    """The problems of an attribute, drawn once for all SAEs of a site."""
    return site.once(f"problems of {attribute}", lambda: _problems(site, attribute))


def _problems(site: SiteExamples, attribute: str) -> Problems:
    train, test = labels_of(site.train, attribute), labels_of(site.test, attribute)
    values = sorted({label for label in train if label is not None})
    if len(values) < 2:
        return Problems((), {"*": f"a probe needs two values; the training examples have {values or 'no labels'}"})
    found: list[Problem] = []
    left_out: dict[str, str] = {}
    for value in values[-1:] if len(values) == 2 else values:
        name = (site.set.name, attribute, value)
        problem = Problem(value, _balanced(train, value, *name, "train"), _balanced(test, value, *name, "test"))
        if reason := _too_few(problem):
            left_out[value] = reason
        else:
            found.append(problem)
    return Problems(tuple(found), left_out if found else {"*": "no value has enough examples"} | left_out)


def _too_few(problem: Problem) -> str | None:
    wanted = (("training", problem.train, SMALLEST_TRAIN), ("test", problem.test, SMALLEST_TEST))
    reasons = [
        f"{selection.n_each} {split} examples on each side, at least {smallest} are needed"
        for split, selection, smallest in wanted
        if selection.n_each < smallest
    ]
    return "; ".join(reasons) or None


def _balanced(labels: Labels, value: str, *seed: str) -> Selection:
    random = generator(*seed)
    positive = random.permutation(np.flatnonzero(labels == value))
    negative = _evenly(labels, value, random)
    return selection(positive, negative)


def selection(positive: Int[np.ndarray, " n_positive"], negative: Int[np.ndarray, " n_negative"]) -> Selection:
    """As many of the first as of the second, from the front."""
    n = min(len(positive), len(negative))
    return Selection(np.concatenate([positive[:n], negative[:n]]), np.arange(2 * n) < n)


def _evenly(labels: Labels, value: str, random: np.random.Generator) -> Int[np.ndarray, " row"]:
    """Rows of all other values, taking turns, so that any first part of them holds about equally many of each."""
    rows = random.permutation(np.flatnonzero([label not in (None, value) for label in labels]))
    turn = np.zeros(len(rows), dtype=int)
    for other in set(labels[rows]):
        of_other = labels[rows] == other
        turn[of_other] = np.arange(of_other.sum())
    return rows[np.argsort(turn, kind="stable")]
