"""TPP and SCR: that ablations need no model, SAEBench's definitions written out, and planted latents."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

from saetransfer.tasks.estimate import NOT_FINITE
from saetransfer.tasks.examples import Examples
from saetransfer.tasks.metric import Estimate
from saetransfer.tasks.perturbation.ablation import Readout, ablated_scores, ranked
from saetransfer.tasks.perturbation.metrics import NO_SCR, NO_TPP
from saetransfer.tasks.perturbation.scr import pairs_of
from saetransfer.tasks.perturbation.task import Perturbation, PerturbationSettings
from saetransfer.tasks.probing.logistic import fit_probe
from saetransfer.tasks.probing.probes import activation_scaling, raw_probes
from saetransfer.tasks.probing.problems import Selection, problems_of
from tests.tasks.labelled import NAME, World, counted, figures, value

CLASSES = {"topic": ("art", "space", "sport", "music")}
BIASED = {"job": ("nurse", "professor"), "gender": ("female", "male")}
PAIR = "job_without_gender"


def task(of: World, *sizes: int) -> Perturbation:
    return Perturbation(PerturbationSettings(latents=sizes or (2, 5, 10)), [of.set])


def biased_world(signal: float = 3.0, seed: int = 0) -> World:
    return World(BIASED, spurious=(("job", "gender"),), n=240, signal=signal, seed=seed)


# Ablating latents of pooled examples is ablating them at every token.


@pytest.mark.parametrize("scaled", [False, True])
def test_ablation_is_that_of_an_sae_at_every_token(scaled: bool) -> None:
    """The slow way: encode, ablate, decode, add the error, pool, probe; the SAE may scale tokens by their norm."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 9, 40)
    tokens = [generator.normal(size=(length, 6)) + 1.0 for length in lengths]
    encoder, decoder, bias = generator.normal(size=(6, 15)), generator.normal(size=(15, 6)), generator.normal(size=6)

    def norms(x: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x, axis=1, keepdims=True) if scaled else np.ones((len(x), 1))

    def encode(x: np.ndarray) -> np.ndarray:
        return np.maximum((x / norms(x)) @ encoder, 0.0)

    def decode(f: np.ndarray, x: np.ndarray) -> np.ndarray:
        return (f @ decoder) * norms(x) + bias

    probes = Readout(generator.normal(size=(6, 2)), generator.normal(size=2))
    latents = generator.permutation(15)[:9]
    slow = []
    for x in tokens:
        f = encode(x)
        error = x - decode(f, x)
        without = f.copy()
        without[:, latents[:4]] = 0.0
        slow.append((decode(without, x) + error).mean(axis=0) @ probes.weights + probes.intercepts)
    pooled = np.stack([x.mean(axis=0) for x in tokens])
    world = World(CLASSES, n=40)
    examples = world.examples()[NAME]
    written = np.stack([(encode(x) * norms(x)).mean(axis=0) for x in tokens])
    values = np.stack([encode(x).mean(axis=0) for x in tokens])
    test = dataclasses.replace(examples.test, values=values, written=written)
    examples = dataclasses.replace(examples, test=test, decoder=decoder)
    fast = dict(ablated_scores(probes.scores(pooled), examples, probes, latents, (2, 4, 9)))
    assert fast[4] == pytest.approx(np.stack(slow), rel=1e-9)


def test_latents_are_ranked_by_what_they_add_to_the_score() -> None:
    world = World(CLASSES, n=40, d_sae=4, d_in=2)
    world.latents[:] = 0.0
    world.latents[:20] = [4.0, 1.0, 0.0, 5.0]  # positive
    world.latents[20:40] = [1.0, 3.0, 0.0, 5.0]
    world.decoder = np.array([[1.0, 0], [2.0, 0], [9.0, 0], [9.0, 0]], np.float32)
    selection = Selection(np.arange(40), np.arange(40) < 20)
    examples = world.examples()[NAME]
    # Differences 3, -2, 0, 0 times readings 1, 2, 9, 9: effects 3, -4, 0, 0; TPP sets the negative difference to 0.
    weights = np.array([1.0, 7.0])
    assert ranked(examples, selection, weights, absolute=True).tolist() == [1, 0]
    assert ranked(examples, selection, weights, absolute=False).tolist() == [0]
    # One effect, -3: one latent is ablated, the one with the largest effect, which is 0. So it is in SAEBench.
    assert ranked(examples, selection, -weights, absolute=False).tolist() == [1]


# SAEBench's definitions, written out anew.


def top(effects: np.ndarray, n: int) -> list[int]:
    """The n largest effects, or as many as are not 0."""
    order = sorted(range(len(effects)), key=lambda latent: (-effects[latent], latent))
    return order[: min(n, int(np.count_nonzero(effects)))]


def without(examples: Examples, latents: list[int]) -> np.ndarray:
    """Pooled test activations with latents ablated, the error kept."""
    x = examples.site.test.activations.astype(float)
    for latent in latents:
        x = x - np.outer(examples.test.written[:, latent], examples.decoder[latent])
    return x


def accuracy(x: np.ndarray, probe: tuple[np.ndarray, float], test: Selection) -> float:
    return float(np.mean((x[test.rows] @ probe[0] + probe[1] > 0) == test.positive))


def mean_difference(examples: Examples, train: Selection) -> np.ndarray:
    f = examples.train.written[train.rows].astype(float)
    return f[train.positive].mean(axis=0) - f[~train.positive].mean(axis=0)


def unscaled(examples: Examples, train: Selection) -> tuple[np.ndarray, float]:
    scaling = activation_scaling(examples.site)
    assert scaling is not None
    features = scaling.apply(examples.site.train.activations[train.rows])
    return fit_probe(features, train.positive).unscaled(scaling)


def slow_tpp(examples: Examples, n: int) -> tuple[float, float]:
    problems = problems_of(examples.site, "topic").found
    probes = [unscaled(examples, problem.train) for problem in problems]
    plain = without(examples, [])
    clean = [accuracy(plain, probe, p.test) for probe, p in zip(probes, problems, strict=True)]
    intended, unintended = [], []
    for i, problem in enumerate(problems):
        effects = np.maximum(mean_difference(examples, problem.train), 0.0) * (examples.decoder @ probes[i][0])
        ablated = without(examples, top(effects, n))
        lost = [clean[j] - accuracy(ablated, probes[j], other.test) for j, other in enumerate(problems)]
        intended.append(lost.pop(i))
        unintended.append(np.mean(lost))
    return float(np.mean(intended)), float(np.mean(unintended))


def slow_scr(examples: Examples, n: int) -> float:
    (pair,) = pairs_of(examples.site, "job", "gender").found
    target, spurious = unscaled(examples, pair.target.train), unscaled(examples, pair.spurious.train)
    biased = unscaled(examples, pair.biased)
    plain = without(examples, [])
    results = []
    for asked, clean_probe, other, other_probe in (
        (pair.target, target, pair.spurious, spurious),
        (pair.spurious, spurious, pair.target, target),
    ):
        effects = np.abs(mean_difference(examples, other.train) * (examples.decoder @ other_probe[0]))
        changed = accuracy(without(examples, top(effects, n)), biased, asked.test)
        clean, original = accuracy(plain, clean_probe, asked.test), accuracy(plain, biased, asked.test)
        score = 0.0 if clean - original < 0.001 else (changed - original) / (clean - original)
        results.append((original, score))
    return min(results, key=lambda result: result[0])[1]


@pytest.mark.parametrize("seed", [0, 1])
def test_tpp_is_that_of_saebench(seed: int) -> None:
    world = World(CLASSES, n=160, signal=1.5, seed=seed)
    sizes = (1, 2, 5, 25)
    found = figures(task(world, *sizes), counted(task(world, *sizes), world))
    for n in sizes:
        intended, unintended = slow_tpp(world.examples()[NAME], n)
        assert value(found, f"tpp_intended_{n}") == pytest.approx(intended, abs=1e-12)
        assert value(found, f"tpp_unintended_{n}") == pytest.approx(unintended, abs=1e-12)
        assert value(found, f"tpp_{n}") == pytest.approx(intended - unintended, abs=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scr_is_that_of_saebench(seed: int) -> None:
    world = biased_world(signal=1.5, seed=seed)
    sizes = (1, 2, 5, 25)
    found = figures(task(world, *sizes), counted(task(world, *sizes), world))
    for n in sizes:
        assert value(found, f"scr_{n}") == pytest.approx(slow_scr(world.examples()[NAME], n), abs=1e-12)


# What is planted is found.


def test_ablating_the_latent_of_a_class_hurts_the_probe_of_that_class_alone() -> None:
    world = World(CLASSES, n=240, signal=6.0)
    found = figures(task(world, 1), counted(task(world, 1), world))
    assert value(found, "tpp_intended_1") > 0.3
    assert value(found, "tpp_unintended_1") < 0.1
    assert found["tpp_1"].ci is not None and found["tpp_1"].ci[0] > 0.2


def test_latents_that_have_nothing_to_do_with_classes_perturb_nothing() -> None:
    world = World(CLASSES, n=240, signal=6.0)
    world.latents = np.random.default_rng(5).permuted(world.latents, axis=0)
    found = figures(task(world, 1), counted(task(world, 1), world))
    assert abs(value(found, "tpp_1")) < 0.1


def test_ablating_the_latents_of_a_spurious_attribute_frees_the_probe_of_it() -> None:
    world = biased_world(signal=5.0)
    # The probe that sees only one half of the combinations goes by gender, whose latents say more.
    world.latents[:, 2:4] *= 2.0
    world.activations = (world.latents @ world.decoder).astype(np.float32)
    sums = counted(task(world, 2), world)
    clean, biased, ablated = (
        sums.total(f"perturbation.{NAME}.{PAIR}.{what}_dir1") / sums.total(f"perturbation.{NAME}.{PAIR}.n")
        for what in ("clean", "biased", "ablated_2")
    )
    assert clean > 0.95
    assert biased < 0.75
    assert ablated > 0.95
    found = figures(task(world, 2), sums)
    assert value(found, "scr_2") == pytest.approx(1.0, abs=0.15)
    assert sums.details[NAME]["pairs"] == {
        "job, gender": [list(pairs_of(world.site(), "job", "gender").found[0].values)]
    }


def test_biased_examples_agree_in_both_attributes_and_clean_ones_are_balanced_in_both() -> None:
    world = biased_world()
    (pair,) = pairs_of(world.site(), "job", "gender").found
    first, second, spurious_first, spurious_second = pair.values
    labels = np.array([world.labels["job"], world.labels["gender"]])
    assert ([first, spurious_first] == labels[:, pair.biased.rows[pair.biased.positive]].T).all()
    assert ([second, spurious_second] == labels[:, pair.biased.rows[~pair.biased.positive]].T).all()
    for problem in (pair.target, pair.spurious):
        for selection, offset in ((problem.train, 0), (problem.test, world.n)):
            counts = np.unique(labels[:, selection.rows + offset].T, axis=0, return_counts=True)[1]
            assert len(counts) == 4
            assert len(set(counts)) == 1
    assert len(pair.biased.rows) == len(pair.target.train.rows)


@pytest.mark.parametrize("world", [World(CLASSES, n=120, signal=1.5), biased_world(signal=1.5)])
def test_the_scale_of_a_latent_changes_nothing(world: World) -> None:
    plain = counted(task(world), world)
    scale = np.float32(2.0) ** np.arange(-15, 15)  # powers of two: no rounding
    scaled = World(dict.fromkeys(world.labels, ("x",)), spurious=world.set.spurious, n=world.n)
    scaled.labels, scaled.activations = world.labels, world.activations
    scaled.latents, scaled.decoder = world.latents * scale, world.decoder / scale[:, None]
    there = counted(task(scaled), scaled)
    for sample, units in plain.samples.items():
        for name, sums in units.items():
            np.testing.assert_array_equal(there.samples[sample][name], sums)


def test_probes_are_fitted_once_for_all_saes_of_a_site() -> None:
    world = World(CLASSES, n=60)
    site = world.site()
    probes = raw_probes(site, "topic")
    task(world).count(world.examples(site), {}, "none")
    assert raw_probes(site, "topic") is probes


# What cannot be measured has a reason.


def reasons(found: Mapping[str, Estimate], *names: str) -> list[tuple[float | None, str | None]]:
    return [(found[name].value, found[name].reason) for name in names]


def test_an_attribute_with_two_values_has_no_tpp() -> None:
    world = biased_world()
    sums = counted(task(world), world)
    assert sums.details[NAME]["left_out"]["job"] == "3 values with enough examples are needed, there are 2"
    assert reasons(figures(task(world), sums), "tpp_2") == [(None, NO_TPP)]
    assert sums.total(f"perturbation.{NAME}.job.n") == sums.total("perturbation.tpp_n") == 0


def test_without_pairs_of_attributes_there_is_no_scr() -> None:
    world = World(CLASSES, n=60)
    sums = counted(task(world), world)
    assert reasons(figures(task(world), sums), "scr_2") == [(None, NO_SCR)]


def test_combinations_with_too_few_examples_are_left_out() -> None:
    world = biased_world()
    world.labels["gender"] = ["male" if job == "nurse" else "female" for job in world.labels["job"]]
    sums = counted(task(world), world)
    (left_out,) = sums.details[NAME]["left_out"]["job, gender"].values()
    assert left_out == "0 training and 0 test examples on each side, 10 and 5 are needed"
    assert reasons(figures(task(world), sums), "scr_5") == [(None, NO_SCR)]


def test_a_spurious_attribute_of_one_value_is_left_out() -> None:
    world = biased_world()
    world.labels["gender"] = ["male"] * len(world.labels["gender"])
    sums = counted(task(world), world)
    assert "two values of each are needed" in sums.details[NAME]["left_out"]["job, gender"]["*"]


def test_a_correlation_that_no_probe_picks_up_cannot_be_removed() -> None:
    world = biased_world(signal=20.0)
    # Activations say nothing but the job: the biased probe is as good as the clean one; no one reads gender.
    world.activations = np.where(np.array(world.labels["job"]) == "nurse", 1.0, -1.0)[:, None].astype(np.float32)
    world.decoder = world.decoder[:, :1]
    sums = counted(task(world), world)
    total = sums.total(f"perturbation.{NAME}.{PAIR}.n")
    assert sums.total(f"perturbation.{NAME}.{PAIR}.biased_dir1") == total
    assert reasons(figures(task(world), sums), "scr_2") == [(None, NO_SCR)]


def test_more_latents_than_the_sae_has_give_no_value() -> None:
    world = World(CLASSES, n=60)
    found = figures(task(world, 2, 500), counted(task(world, 2, 500), world))
    assert value(found, "tpp_2") is not None
    assert reasons(found, "tpp_500", "tpp_unintended_500") == [(None, NO_TPP)] * 2


def test_an_sae_whose_latents_never_fire_perturbs_nothing() -> None:
    for world, name in ((World(CLASSES, n=60), "tpp_5"), (biased_world(), "scr_5")):
        world.latents[:] = 0.0
        assert value(figures(task(world), counted(task(world), world)), name) == 0.0


@pytest.mark.parametrize("row", [3, -3])
@pytest.mark.parametrize("what", ["latents", "activations"])
def test_what_is_not_finite_gives_reasons_never_numbers(what: str, row: int) -> None:
    for world, name in ((World(CLASSES, n=60), "tpp_5"), (biased_world(), "scr_5")):
        getattr(world, what)[row, 1] = np.nan
        assert reasons(figures(task(world), counted(task(world), world)), name) == [(None, NOT_FINITE)]


def test_metrics_have_names_of_their_own() -> None:
    names = [metric.name for metric in task(biased_world(), 2, 500).metrics]
    assert len(names) == len(set(names))
    assert {"perturbation.tpp_500", "perturbation.scr_2"} <= set(names)
