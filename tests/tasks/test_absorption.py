"""Absorption is seen where it was planted, by SAEBench's definition, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from saetransfer.tasks.absorption import LETTER, WORDS, Absorption, AbsorptionSettings, absorbed
from saetransfer.tasks.estimate import NOT_FINITE, estimate
from saetransfer.tasks.examples import Examples, ExampleSet, Latents, SiteExamples, SiteSplit
from saetransfer.tasks.letters import L1_PENALTY, l1_weights
from saetransfer.tasks.metric import Estimate
from saetransfer.tasks.shelf import make
from saetransfer.tasks.task import LabelledTask, Sums

LETTERS = "abcdef"
N_TRAIN, N_TEST = 40, 20
TASK = Absorption(AbsorptionSettings(min_letters=len(LETTERS)))


class World:
    """Words of six letters: an activation is its letter's direction, a direction of its own, and noise.

    Every letter has a latent that writes its direction, and every word one that writes the word's own.
    """

    def __init__(self, absorbed_of_letter: float = 0.0, kept: float = 0.0, seed: int = 0) -> None:
        """Of every letter, a share of the words have their letter written by the word's latent, all but `kept`."""
        generator = np.random.default_rng(seed)
        n_words = len(LETTERS) * (N_TRAIN + N_TEST)
        self.d_in = len(LETTERS) + n_words
        directions = np.eye(self.d_in)
        self.letter = np.tile(np.arange(len(LETTERS)), N_TRAIN + N_TEST)
        number = np.arange(n_words) // len(LETTERS)
        self.is_train = number < N_TRAIN
        own = directions[len(LETTERS) :]
        self.x = 3.0 * directions[self.letter] + own + 0.01 * generator.normal(size=(n_words, self.d_in))
        self.is_absorbed = np.where(self.is_train, number / N_TRAIN, (number - N_TRAIN) / N_TEST) < absorbed_of_letter
        writes = np.where(self.is_absorbed, kept, 3.0)
        self.latents = np.zeros((n_words, self.d_in))
        self.latents[np.arange(n_words), self.letter] = writes
        both = own + (3.0 - writes)[:, None] * directions[self.letter]
        norms = np.linalg.norm(both, axis=1)
        self.latents[np.arange(n_words), len(LETTERS) + np.arange(n_words)] = norms
        self.decoder = np.concatenate([directions[: len(LETTERS)], both / norms[:, None]])

    def examples(self) -> Examples:
        names = np.asarray(list(LETTERS))[self.letter]
        splits = [
            SiteSplit({LETTER: names[rows].tolist()}, self.x[rows].astype(np.float32))
            for rows in (self.is_train, ~self.is_train)
        ]
        latents = [self.latents[rows].astype(np.float32) for rows in (self.is_train, ~self.is_train)]
        train, test = (Latents(values, values) for values in latents)
        return Examples(
            SiteExamples(ExampleSet(WORDS, (LETTER,)), *splits), train, test, self.decoder.astype(np.float32)
        )


def count(examples: Examples, task: Absorption = TASK) -> Sums:
    return task.count({WORDS: examples}, {}, "no dense state")


def figures(examples: Examples, task: Absorption = TASK) -> dict[str, Estimate]:
    found = estimate(task.metrics, count(examples, task))
    return {name.removeprefix("absorption."): value for name, value in found.items()}


def test_it_is_a_labelled_task_and_the_shelf_makes_it() -> None:
    assert isinstance(make("absorption"), LabelledTask)
    assert make("absorption", {"min_letters": 3}).params["min_letters"] == 3


# What was planted is found.


def test_where_every_letter_has_its_latent_nothing_is_absorbed() -> None:
    found = figures(World().examples())
    assert (found["fraction_mean"].value, found["fraction_mean"].ci) == (0.0, (0.0, 0.0))
    assert found["full_mean"].value == 0.0
    assert found["split_latents_mean"].value == 1.0


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_planted_absorption_is_seen_on_as_many_words_as_it_was_planted_on(share: float) -> None:
    found = figures(World(share).examples())
    assert found["full_mean"].value == pytest.approx(share)
    assert found["fraction_mean"].value == pytest.approx(share)
    assert found["split_latents_mean"].value == 1.0
    low, high = found["full_mean"].ci or (0.0, 0.0)
    assert low < share < high


def test_half_a_letter_that_another_latent_writes_is_a_fraction_of_a_half_and_no_full_absorption() -> None:
    found = figures(World(0.2, kept=1.5).examples())
    assert found["full_mean"].value == 0.0
    assert found["fraction_mean"].value == pytest.approx(0.2 * 0.5, abs=0.01)


def test_a_letter_in_two_latents_is_split_and_not_absorbed() -> None:
    world = World()
    # The second half of the words of each letter has another latent, in the place of a word's.
    spare = len(LETTERS) + np.arange(len(LETTERS))
    rows = np.arange(len(world.x))
    moved = (rows // len(LETTERS)) % 2 == 1
    world.latents[:, spare] = 0.0
    world.decoder[spare] = world.decoder[: len(LETTERS)]
    world.latents[rows[moved], spare[world.letter[moved]]] = 3.0
    world.latents[rows[moved], world.letter[moved]] = 0.0
    found = figures(world.examples())
    assert (found["split_latents_mean"].value, found["full_mean"].value) == (2.0, 0.0)


def test_details_hold_every_letter_and_the_means_are_theirs() -> None:
    examples = World(0.25).examples()
    letters = count(examples).details["letters"]
    assert list(letters) == list(LETTERS)
    found = figures(examples)
    for name, figure in (("fraction", "fraction_mean"), ("full", "full_mean")):
        assert found[figure].value == pytest.approx(np.mean([of[name] for of in letters.values()]))
    assert {of["words"] for of in letters.values()} == {N_TEST}


def test_no_figure_depends_on_the_scale_of_activations_or_of_decoder_rows() -> None:
    examples = World(0.25, kept=1.0).examples()
    site = examples.site
    scaled = SiteExamples(
        site.set,
        replace(site.train, activations=8 * site.train.activations),
        replace(site.test, activations=8 * site.test.activations),
    )
    here = figures(examples)
    larger = Examples(scaled, *(Latents(8 * of.values, 8 * of.written) for of in _splits(examples)), examples.decoder)
    rows = Examples(site, *(Latents(4 * of.values, 4 * of.written) for of in _splits(examples)), examples.decoder / 4)
    # An SAE that scales tokens by their norm: its latents are in units of its own.
    units = Examples(site, *(Latents(4 * of.values, of.written) for of in _splits(examples)), examples.decoder)
    for other in (larger, rows, units):
        for name, estimate_there in figures(other).items():
            assert estimate_there.value == pytest.approx(here[name].value, rel=1e-4), name


def _splits(examples: Examples) -> tuple[Latents, Latents]:
    return examples.train, examples.test


# SAEBench's definition, word by word.


def saebench(
    x: np.ndarray, latents: np.ndarray, decoder: np.ndarray, direction: np.ndarray, main: list[int]
) -> tuple[float, bool]:
    """Absorption fraction and full absorption of one word; decoder rows and direction have norm 1."""
    seen = float(x @ direction)
    cosines = [float(row @ direction) for row in decoder]
    parts = [latent * cosine for latent, cosine in zip(latents, cosines, strict=True)]
    of_main = sum(parts[number] for number in main)
    others = [n for n in range(len(parts)) if n not in main and cosines[n] >= 0.1 and parts[n] > 0]
    of_others = sum(sorted((parts[n] for n in others), reverse=True)[:3])
    if of_main >= seen or of_others / seen < 0.4:
        fraction = 0.0
    elif of_main <= 0:
        fraction = 1.0
    else:
        replaced = min(of_others, seen - of_main)
        fraction = min(max(replaced / (replaced + of_main), 0.0), 1.0)
    top = max(range(len(parts)), key=lambda n: parts[n])
    silent = all(latents[number] < 1e-8 for number in main)
    return fraction, bool(silent and cosines[top] >= 0.025 and seen >= 0 and parts[top] / seen >= 0.4)


def test_fraction_and_full_absorption_are_those_of_saebench() -> None:
    generator = np.random.default_rng(3)
    seen_fractions: set[str] = set()
    n_full = 0
    for _ in range(40):
        decoder = generator.normal(size=(12, 5))
        decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
        direction = decoder[0] + 0.3 * generator.normal(size=5)
        direction /= np.linalg.norm(direction)
        latents = np.maximum(generator.normal(size=(30, 12)), 0.0) * (generator.random((30, 12)) < 0.4)
        x = latents @ decoder + 0.3 * generator.normal(size=(30, 5))
        main = [0, 3] if generator.random() < 0.5 else [0]
        fractions, fulls = absorbed(x, latents, latents, decoder, direction, main)
        for row in range(30):
            fraction, full = saebench(x[row], latents[row], decoder, direction, main)
            assert (fractions[row], fulls[row]) == (pytest.approx(fraction), float(full))
            seen_fractions.add("none" if fraction == 0 else "whole" if fraction == 1 else "part")
            n_full += full
    assert seen_fractions == {"none", "part", "whole"}
    assert n_full > 10


def test_the_l1_probe_is_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    latents = np.maximum(generator.normal(size=(150, 20)), 0.0).astype(np.float32)
    labels = np.stack([latents[:, 0] > 0.4, latents[:, 1] + latents[:, 2] > 1.5], axis=1)
    found = l1_weights(latents, labels)
    for column in range(2):
        y = labels[:, column]
        weights = np.where(y, (~y).sum() / y.sum(), 1.0)
        theirs = LogisticRegression(C=1 / (L1_PENALTY * len(y)), l1_ratio=1.0, solver="saga", max_iter=20_000, tol=1e-7)
        theirs.fit(latents, y, sample_weight=weights)
        np.testing.assert_allclose(found[:, column], theirs.coef_[0], rtol=0.05, atol=0.02)


# Where there is nothing to say, there is a reason.


def broken(examples: Examples) -> Examples:
    values = examples.test.values.copy()
    values[3, 2] = np.nan
    return replace(examples, test=Latents(values, values))


def silent(examples: Examples) -> Examples:
    none = [np.zeros_like(of.values) for of in _splits(examples)]
    return replace(examples, train=Latents(none[0], none[0]), test=Latents(none[1], none[1]))


def relabelled(examples: Examples, seed: int | None) -> Examples:
    """Labels shuffled, or all the same."""
    splits = []
    for split in (examples.site.train, examples.site.test):
        labels = list(split.labels[LETTER])
        shuffled = labels if seed is None else np.random.default_rng(seed).permutation(labels).tolist()
        splits.append(replace(split, labels={LETTER: ["a"] * len(labels) if seed is None else shuffled}))
    return replace(examples, site=SiteExamples(examples.site.set, *splits))


def emptied(examples: Examples) -> Examples:
    none = replace(examples.site.test, labels={LETTER: []}, activations=examples.site.test.activations[:0])
    site = SiteExamples(examples.site.set, examples.site.train, none)
    return replace(examples, site=site, test=Latents(examples.test.values[:0], examples.test.written[:0]))


@pytest.mark.parametrize(
    ("make_examples", "reason"),
    [
        (broken, NOT_FINITE),
        (silent, "a latent that speaks for them"),
        (lambda examples: relabelled(examples, 0), "fewer than 6 letters have a probe"),
        (lambda examples: relabelled(examples, None), "fewer than 6 letters have a probe"),
        (emptied, "0 to test on whole"),
    ],
)
def test_what_cannot_be_measured_has_a_reason(make_examples: object, reason: str) -> None:
    for name, found in figures(make_examples(World(0.25).examples())).items():  # type: ignore[operator]
        assert found.value is None, name
        assert reason in (found.reason or ""), name


def test_fewer_letters_than_saebench_wants_are_enough_for_a_suite_that_says_so() -> None:
    examples = World(0.25).examples()
    by_default = figures(examples, Absorption(AbsorptionSettings()))["full_mean"]
    assert by_default.value is None
    assert "fewer than 20 letters" in (by_default.reason or "")
    assert figures(examples)["full_mean"].value is not None
