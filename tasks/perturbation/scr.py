"""Spurious correlation removal (SCR): does ablating a spurious attribute's latents free a biased probe of it?

As in SAEBench (`get_spurious_corr_data`, `get_scr_plotting_dict`), for two values of a target attribute (professor,
nurse) and two of a spurious one (male, female). Three probes are fitted on training examples: `target` and `spurious`
on as many of each of the four combinations; `biased` on as many examples again, but of male professors and female
nurses
    score = (A(biased, ablated) - A(biased)) / (A(clean) - A(biased)),    0 where the denominator is below 0.001

where clean is the probe that was fitted on balanced examples. The metric takes the direction in which the biased probe
is worse, where there is more to remove (direction 1 if both are equal). Where the denominator is below 0.001 for every
pair of values, there was no correlation to remove and the metric has no value.

Values: of the target the pairs first-second, third-fourth, ... in order of their number of training examples, at most
four (SAEBench names four by hand); of the spurious attribute the two most frequent ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float, Int

from ..examples import Examples, SiteExamples, SiteSplit
from ..probing.logistic import Probe
from ..probing.probes import fit_activations
from ..probing.problems import SMALLEST_TEST, SMALLEST_TRAIN, Problem, Selection, generator, labels_of, selection
from ..probing.scores import answers, not_finite, right_answers
from .ablation import Readout, ablated_scores, ranked, readout, whole

MOST_PAIRS = 4
DIRECTIONS = (1, 2)


@dataclass(frozen=True)
class Confounded:
    """Two values of a target and two of a spurious attribute, the first ones and the second ones correlated."""

    values: tuple[str, str, str, str]
    """Two of the target, two of the spurious attribute."""
    target: Problem
    spurious: Problem
    """On the same examples as the target, with other labels."""
    biased: Selection
    """Training examples on which both agree."""


@dataclass(frozen=True)
class Pairs:
    """All pairs of values of a target and a spurious attribute."""

    found: tuple[Confounded, ...]
    left_out: dict[str, str]
    """Values -> why they are left out; under `*` why there is nothing at all."""


Quadrants = dict[tuple[int, int], Int[np.ndarray, " row"]]
"""Rows by which of the two target values and which of the two spurious ones they have."""


def pairs_of(site: SiteExamples, target: str, spurious: str) -> Pairs:
    """The pairs of values, drawn once for all SAEs of a site."""
    return site.once(f"pairs of {target} and {spurious}", lambda: _pairs(site, target, spurious))


def scr_sums(examples: Examples, target: str, spurious: str, sizes: Sequence[int]) -> dict[str, np.ndarray]:
    """Right answers by test example and pair of values, in both directions: clean, biased and ablated."""
    site, n_units = examples.site, len(examples.test.written)
    pairs = pairs_of(site, target, spurious).found
    asked = tuple(pair.target for pair in pairs)
    sums = {"n": answers(asked, n_units)}
    probes = [readout(site, three) for three in _probes(site, target, spurious)]
    fitted = [three for three in probes if three is not None]
    if len(fitted) < len(pairs) or not whole(examples):
        return sums | {name: not_finite(asked, n_units) for name in _names(sizes)}
    columns = [_pair_columns(examples, pair, three, sizes) for pair, three in zip(pairs, fitted, strict=True)]
    return sums | {name: np.concatenate([column[name] for column in columns], axis=1) for name in _names(sizes)}


def _names(sizes: Sequence[int]) -> list[str]:
    parts = ("clean", "biased", *(f"ablated_{n}" for n in sizes))
    return [f"{part}_dir{direction}" for direction in DIRECTIONS for part in parts]


def _pair_columns(
    examples: Examples, pair: Confounded, probes: Readout, sizes: Sequence[int]
) -> dict[str, Float[np.ndarray, "unit 1"]]:
    problems, biased = (pair.target, pair.spurious), 2
    scores = probes.scores(examples.site.test.activations)
    found: dict[str, Float[np.ndarray, "unit 1"]] = {}
    for direction, asked, ablated in ((1, 0, 1), (2, 1, 0)):
        test = (problems[asked],)
        found[f"clean_dir{direction}"] = right_answers(test, scores[:, [asked]])
        found[f"biased_dir{direction}"] = right_answers(test, scores[:, [biased]])
        latents = ranked(examples, problems[ablated].train, probes.weights[:, ablated], absolute=True)
        for n, without in ablated_scores(scores, examples, probes, latents, sizes):
            found[f"ablated_{n}_dir{direction}"] = right_answers(test, without[:, [biased]])
    return found


def _probes(site: SiteExamples, target: str, spurious: str) -> list[tuple[Probe, ...]]:
    """For each pair of values the probes target, spurious, biased; no probes where not all activations are finite."""
    return site.once(f"probes of {target} and {spurious}", lambda: _fit(site, target, spurious))


def _fit(site: SiteExamples, target: str, spurious: str) -> list[tuple[Probe, ...]]:
    pairs = pairs_of(site, target, spurious).found
    return [fit_activations(site, (pair.target.train, pair.spurious.train, pair.biased)) for pair in pairs]


def _pairs(site: SiteExamples, target: str, spurious: str) -> Pairs:
    targets, spurious_values = (_by_frequency(site.train, attribute) for attribute in (target, spurious))
    if len(targets) < 2 or len(spurious_values) < 2:
        found = f"{target} has {targets or 'no labels'}, {spurious} has {spurious_values or 'no labels'}"
        return Pairs((), {"*": f"two values of each are needed; among training examples {found}"})
    pairs: list[Confounded] = []
    left_out: dict[str, str] = {}
    for first, second in list(zip(targets[0::2], targets[1::2], strict=False))[:MOST_PAIRS]:
        values = (first, second, spurious_values[0], spurious_values[1])
        made = _confounded(site, target, spurious, values)
        if isinstance(made, str):
            left_out[", ".join(values)] = made
        else:
            pairs.append(made)
    return Pairs(tuple(pairs), left_out)


def _by_frequency(split: SiteSplit, attribute: str) -> list[str]:
    counts = Counter(label for label in split.labels[attribute] if label is not None)
    return sorted(counts, key=lambda value: (-counts[value], value))


def _confounded(site: SiteExamples, target: str, spurious: str, values: tuple[str, str, str, str]) -> Confounded | str:
    """The problems of four values, or why there are too few examples for them."""
    train = _quadrants(site.train, target, spurious, values, generator(site.set.name, *values, "train"))
    test = _quadrants(site.test, target, spurious, values, generator(site.set.name, *values, "test"))
    # The biased probe sees as many examples as the others, from half of the combinations.
    n_train = min(*map(len, train.values()), min(len(train[0, 0]), len(train[1, 1])) // 2)
    n_test = min(map(len, test.values()))
    # A side of a problem holds two combinations.
    if 2 * n_train < SMALLEST_TRAIN or 2 * n_test < SMALLEST_TEST:
        wanted = f"{SMALLEST_TRAIN} and {SMALLEST_TEST} are needed"
        return f"{2 * n_train} training and {2 * n_test} test examples on each side, {wanted}"
    by_target = [_sides(rows, n, ((0, 0), (0, 1))) for rows, n in ((train, n_train), (test, n_test))]
    by_spurious = [_sides(rows, n, ((0, 0), (1, 0))) for rows, n in ((train, n_train), (test, n_test))]
    return Confounded(
        values,
        target=Problem(values[0], *by_target),
        spurious=Problem(values[2], *by_spurious),
        biased=selection(train[0, 0][: 2 * n_train], train[1, 1][: 2 * n_train]),
    )


def _quadrants(
    split: SiteSplit, target: str, spurious: str, values: tuple[str, str, str, str], random: np.random.Generator
) -> Quadrants:
    targets, spurious_labels = labels_of(split, target), labels_of(split, spurious)
    return {
        (i, j): random.permutation(np.flatnonzero((targets == values[i]) & (spurious_labels == values[2 + j])))
        for i, j in product((0, 1), repeat=2)
    }


def _sides(rows: Quadrants, n: int, positive: tuple[tuple[int, int], ...]) -> Selection:
    """As many examples of each combination; those named are the positive ones."""
    sides = [[rows[key][:n] for key in rows if (key in positive) == side] for side in (True, False)]
    return selection(np.concatenate(sides[0]), np.concatenate(sides[1]))
