"""What the probing metrics are, as properties."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest

from saetransfer.tasks.estimate import NOT_FINITE
from saetransfer.tasks.examples import ExampleSet
from saetransfer.tasks.metric import UnitSums
from saetransfer.tasks.probing import logistic, probes
from saetransfer.tasks.probing.metrics import NO_PROBLEM
from saetransfer.tasks.probing.problems import problems_of
from saetransfer.tasks.probing.task import Probing, ProbingSettings
from saetransfer.tasks.task import Sums, with_dense_cell
from tests.tasks.labelled import NAME, World, counted, figures, value

ATTRIBUTES = {"mood": ("happy", "sad"), "topic": ("art", "sport", "space")}
KINDS = ("k1", "k2", "k5", "k20", "all", "raw")


def world(**settings: float) -> World:
    return World(ATTRIBUTES, **settings)  # type: ignore[arg-type]  # numbers that it knows


def task(of: World) -> Probing:
    return Probing(ProbingSettings(), [of.set])


def kept(probing: Probing, sums: Sums) -> UnitSums:
    """What a record keeps of a cell's sums."""
    found = {name: values for units in sums.samples.values() for name, values in units.items()}
    return {name: found[name] for name in probing.paired}


def test_a_planted_feature_is_found_by_a_probe_on_one_latent() -> None:
    scene = world(signal=8.0)
    sums = counted(task(scene), scene)
    found = figures(task(scene), sums)
    for attribute, values in ATTRIBUTES.items():
        assert value(found, f"{NAME}.{attribute}.accuracy_k1") > 0.99
        assert value(found, f"{NAME}.{attribute}.auc_k1") > 0.999
        chosen = sums.details[NAME]["latents"][attribute]
        # Either of the two latents of a binary attribute tells its values apart.
        planted = {"sad": (0, 1), "art": (2,), "sport": (3,), "space": (4,)}
        assert all(latents[0] in planted[name] for name, latents in chosen.items())
        assert set(chosen) <= set(values)


def test_probes_on_shuffled_labels_are_at_chance() -> None:
    scene = world(signal=8.0, n=400)
    found = figures(task(scene), counted(task(scene), scene))["accuracy_shuffled"]
    assert found.ci is not None and found.value is not None
    # Four problems, each of 130 to 400 test examples: three standard errors.
    assert found.value == pytest.approx(0.5, abs=1.5 * (found.ci[1] - found.ci[0]))


@pytest.mark.parametrize("n", [20, 26])
def test_shuffled_labels_are_balanced_and_say_nothing_of_the_true_ones(n: int) -> None:
    positive = np.arange(n) < n // 2
    shuffled = probes.shuffled_labels(positive, np.random.default_rng(0))
    assert shuffled.sum() == n // 2
    assert abs((shuffled == positive).mean() - 0.5) <= 1 / n


def test_labels_that_say_nothing_give_chance() -> None:
    scene = world(signal=0.0, n=400)
    found = figures(task(scene), counted(task(scene), scene))
    for kind in KINDS:
        assert value(found, f"accuracy_{kind}") == pytest.approx(0.5, abs=0.06)
        assert value(found, f"auc_{kind}") == pytest.approx(0.5, abs=0.06)


def test_more_latents_tell_more_of_what_is_spread_over_many() -> None:
    scene = world(signal=0.0)
    scene.latents[:, :20] += 0.5 * (np.array(scene.labels["mood"]) == "sad")[:, None]
    found = figures(task(scene), counted(task(scene), scene))
    accuracy = [value(found, f"{NAME}.mood.accuracy_{kind}") for kind in ("k1", "k5", "k20")]
    assert accuracy == sorted(accuracy)
    assert accuracy[-1] > accuracy[0] + 0.1


def test_figures_are_means_over_classes_and_then_over_attributes() -> None:
    scene, examples = world(signal=1.0), None
    examples = scene.examples()
    fitted = task(scene).fit(examples)
    found = figures(task(scene), task(scene).count(examples, fitted, "none"))
    by_attribute = []
    for attribute in ATTRIBUTES:
        accuracies = []
        for i, problem in enumerate(problems_of(examples[NAME].site, attribute).found):
            key = f"{NAME}.{attribute}.k5"
            chosen, weights = fitted[f"{key}.chosen"][i], fitted[f"{key}.weights"][i]
            raw = examples[NAME].test.values[problem.test.rows][:, chosen]
            features = (raw - fitted[f"{NAME}.latents.mean"][chosen]) / fitted[f"{NAME}.latents.scale"][chosen]
            says_yes = features @ weights + fitted[f"{key}.intercepts"][i] > 0
            labels = np.array(scene.labels[attribute][scene.n :])[problem.test.rows]
            accuracies.append(np.mean(says_yes == (labels == problem.value)))
        by_attribute.append(np.mean(accuracies))
        assert value(found, f"{NAME}.{attribute}.accuracy_k5") == pytest.approx(by_attribute[-1])
    assert value(found, "accuracy_k5") == pytest.approx(np.mean(by_attribute))


def test_a_probe_that_is_tested_where_it_was_fitted_transfers_exactly() -> None:
    scene = world(signal=1.0)
    probing, examples = task(scene), scene.examples()
    fitted = probing.fit(examples)
    sums = probing.count(examples, fitted, fitted)
    found = figures(probing, with_dense_cell(sums, kept(probing, sums)))
    for kind in KINDS:
        for figure in ("accuracy", "auc"):
            assert found[f"transfer_{figure}_{kind}"].value == found[f"{figure}_{kind}"].value
            assert found[f"transfer_{figure}_{kind}"].ci == found[f"{figure}_{kind}"].ci
        assert (found[f"transfer_change_{kind}"].value, found[f"transfer_change_{kind}"].ci) == (0.0, (0.0, 0.0))


def test_a_drop_is_the_transfer_accuracy_here_minus_the_accuracy_there() -> None:
    dense, state = world(signal=1.5), world(signal=1.5)
    state.latents = np.roll(state.latents, 1, axis=1)  # every latent means something else
    probing = task(dense)
    there = counted(probing, dense)
    fitted = probing.fit(dense.examples())
    found = figures(probing, with_dense_cell(counted(probing, state, fitted), kept(probing, there)))
    before = figures(probing, there)
    for kind in KINDS:
        drop = value(found, f"transfer_accuracy_{kind}") - value(before, f"accuracy_{kind}")
        assert value(found, f"transfer_change_{kind}") == pytest.approx(drop, abs=1e-12)
    assert value(found, "transfer_change_k5") < -0.1
    assert value(found, "transfer_change_raw") == 0.0


def test_what_was_fitted_can_be_saved_without_pickle_and_knows_no_test_example() -> None:
    scene, other = world(), world()
    other.latents[other.n :] = 0.0
    other.activations[other.n :] = 1.0
    fitted, again = task(scene).fit(scene.examples()), task(other).fit(other.examples())
    stream = io.BytesIO()
    np.savez(stream, **fitted)  # type: ignore[arg-type]  # arrays by name
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as loaded:
        assert set(loaded) == set(fitted) == set(again)
        for name in loaded:
            np.testing.assert_array_equal(loaded[name], fitted[name])
            np.testing.assert_array_equal(again[name], fitted[name])


def test_the_scale_of_a_latent_changes_which_ones_are_chosen_but_no_fit() -> None:
    scene, scaled = world(signal=1.0), world(signal=1.0)
    scaled.latents *= np.float32(2.0) ** np.arange(-15, 15)
    plain, other = (counted(task(one), one) for one in (scene, scaled))
    assert plain.details[NAME]["latents"] != other.details[NAME]["latents"]
    found, there = figures(task(scene), plain), figures(task(scaled), other)
    for figure in ("accuracy_all", "auc_all", "accuracy_raw"):
        assert there[figure].value == pytest.approx(found[figure].value, abs=0.005)


def test_the_order_of_examples_changes_nothing_but_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "C_GRID", (10.0,))  # folds are drawn
    scene, shuffled = (World({"mood": ("happy", "sad")}, signal=1.0) for _ in range(2))
    for one in (scene, shuffled):  # as many of both, so that no choice is left
        one.labels["mood"] = ["happy", "sad"] * one.n
        one.latents[:, 0] += 2 * (np.array(one.labels["mood"]) == "sad")
    order = np.random.default_rng(1).permutation(scene.n)
    order = np.concatenate([order, scene.n + order])
    shuffled.latents, shuffled.activations = shuffled.latents[order], shuffled.activations[order]
    shuffled.labels["mood"] = [shuffled.labels["mood"][row] for row in order]
    found, there = (figures(task(one), counted(task(one), one)) for one in (scene, shuffled))
    for kind in KINDS:
        assert value(there, f"accuracy_{kind}") == pytest.approx(value(found, f"accuracy_{kind}"), abs=1e-9)
        assert value(there, f"auc_{kind}") == pytest.approx(value(found, f"auc_{kind}"), abs=1e-6)


def test_problems_are_balanced_and_their_negatives_are_of_all_other_values() -> None:
    scene = world()
    site = scene.site()
    topic = problems_of(site, "topic").found
    assert [problem.value for problem in topic] == ["art", "space", "sport"]
    assert [problem.value for problem in problems_of(site, "mood").found] == ["sad"]
    for problem in topic:
        labels = np.array(scene.labels["topic"])[problem.train.rows]
        assert ((labels == problem.value) == problem.train.positive).all()
        assert problem.train.positive.mean() == 0.5
        assert len(set(problem.train.rows)) == len(problem.train.rows)
        assert problem.train.n_each == np.sum(np.array(scene.labels["topic"][: scene.n]) == problem.value)
        counts = np.unique(labels[~problem.train.positive], return_counts=True)[1]
        assert counts.max() - counts.min() <= 1


def test_probes_on_activations_are_fitted_once_for_all_saes_of_a_site(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = world()
    site, widths = scene.site(), []
    fit = probes.fit_probe

    def spy(features: np.ndarray, positive: np.ndarray, c: float | None = None) -> logistic.Probe:
        widths.append(features.shape[1])
        return fit(features, positive, c)

    monkeypatch.setattr(probes, "fit_probe", spy)
    for _ in range(2):
        task(scene).fit(scene.examples(site))
    assert widths.count(scene.activations.shape[1]) == 4
    assert widths.count(scene.latents.shape[1]) == 8


# What cannot be measured has a reason.


def test_without_a_dense_state_there_is_no_transfer() -> None:
    scene = world()
    sums = counted(task(scene), scene, "the SAE is random")
    found = figures(task(scene), sums)
    assert (found["transfer_accuracy_k5"].value, found["transfer_accuracy_k5"].reason) == (None, "the SAE is random")
    assert found["transfer_change_k5"].value is None
    assert value(found, "accuracy_k5") > 0.5


def test_probes_of_another_number_of_latents_do_not_fit() -> None:
    scene, wide = world(), world(d_sae=40)
    sums = counted(task(scene), scene, task(wide).fit(wide.examples()))
    found = figures(task(scene), sums)["transfer_auc_all"]
    assert (found.value, found.reason) == (None, "30 latents here, 40 where the probes were fitted")


def one_value_only(scene: World) -> None:
    scene.labels["mood"] = ["sad"] * len(scene.labels["mood"])


def too_few_to_fit(scene: World) -> None:
    scene.labels["mood"][: scene.n] = ["sad"] * 9 + ["happy"] * (scene.n - 9)


def too_few_to_test(scene: World) -> None:
    scene.labels["mood"][scene.n :] = ["sad"] * 4 + ["happy"] * (scene.n - 4)


def no_labels(scene: World) -> None:
    scene.labels["mood"] = [None] * len(scene.labels["mood"])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (one_value_only, "a probe needs two values; the training examples have ['sad']"),
        (no_labels, "a probe needs two values; the training examples have no labels"),
        (too_few_to_fit, "9 training examples on each side, at least 10 are needed"),
        (too_few_to_test, "4 test examples on each side, at least 5 are needed"),
    ],
)
def test_an_attribute_that_cannot_be_probed_is_left_out_with_a_reason(spoil: Callable[[World], None], why: str) -> None:
    scene = world()
    spoil(scene)
    sums = counted(task(scene), scene)
    found = figures(task(scene), sums)
    assert why in sums.details[NAME]["left_out"]["mood"].values()
    assert (found[f"{NAME}.mood.accuracy_k1"].value, found[f"{NAME}.mood.accuracy_k1"].reason) == (None, NO_PROBLEM)
    assert sums.total(f"probing.{NAME}.mood.n") == 0
    assert value(found, "accuracy_k1") == value(found, f"{NAME}.topic.accuracy_k1")


def test_a_value_with_few_examples_is_no_class_and_leaves_the_others() -> None:
    scene = world()
    scene.labels["topic"][:3] = scene.labels["topic"][scene.n : scene.n + 3] = ["cooking"] * 3
    sums = counted(task(scene), scene)
    assert list(sums.details[NAME]["left_out"]["topic"]) == ["cooking"]
    assert list(sums.details[NAME]["latents"]["topic"]) == ["art", "space", "sport"]


def test_examples_without_a_label_are_left_out() -> None:
    scene, cut = world(signal=1.0), world(signal=1.0)
    for row in range(0, 2 * scene.n, 4):
        scene.labels["mood"][row] = None
    for problem in problems_of(scene.site(), "mood").found:
        for selection in (problem.train, problem.test):
            assert not (selection.rows % 4 == 0).any()
    assert value(figures(task(scene), counted(task(scene), scene)), f"{NAME}.mood.accuracy_all") > 0.5
    assert cut.labels != scene.labels


def test_without_sets_there_is_nothing_to_probe() -> None:
    empty = Probing(ProbingSettings(), [])
    found = figures(empty, empty.count({}, empty.fit({}), "none"))
    assert all(one.value is None and one.reason for one in found.values())


@pytest.mark.parametrize("row", [3, -3])
def test_a_nan_in_a_latent_leaves_only_what_does_not_look_at_latents(row: int) -> None:
    scene = world()
    scene.latents[row, 0] = np.nan
    examples = scene.examples()
    fitted = task(scene).fit(examples)
    found = figures(task(scene), task(scene).count(examples, fitted, fitted))
    for kind in ("k1", "k20", "all"):
        for figure in ("accuracy", "auc", "transfer_accuracy"):
            assert (found[f"{figure}_{kind}"].value, found[f"{figure}_{kind}"].reason) == (None, NOT_FINITE)
    assert value(found, "accuracy_raw") > 0.5


@pytest.mark.parametrize("row", [3, -3])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_activation_that_is_not_finite_leaves_only_what_looks_at_latents(row: int, bad: float) -> None:
    scene = world()
    scene.activations[row, 2] = bad
    found = figures(task(scene), counted(task(scene), scene))
    for figure in ("accuracy", "auc"):
        assert (found[f"{figure}_raw"].value, found[f"{figure}_raw"].reason) == (None, NOT_FINITE)
    assert value(found, "accuracy_k5") > 0.5


def test_dead_and_constant_latents_are_as_good_as_none() -> None:
    scene, with_dead = world(signal=1.0), world(signal=1.0)
    idle = np.concatenate([np.zeros((400, 3)), np.full((400, 2), 0.1)], axis=1).astype(np.float32)
    with_dead.latents = np.concatenate([with_dead.latents, idle], axis=1)
    with_dead.decoder = np.concatenate([with_dead.decoder, np.ones((5, 24), np.float32)])
    found, there = (figures(task(one), counted(task(one), one)) for one in (scene, with_dead))
    for kind in ("k1", "k20", "raw"):
        assert there[f"accuracy_{kind}"] == found[f"accuracy_{kind}"]
    assert value(there, "accuracy_all") == pytest.approx(value(found, "accuracy_all"), abs=0.02)


def test_an_sae_whose_latents_never_fire_is_at_chance() -> None:
    scene = world()
    scene.latents[:] = 0.0
    found = figures(task(scene), counted(task(scene), scene))
    for kind in ("k1", "k20", "all"):
        assert (value(found, f"accuracy_{kind}"), value(found, f"auc_{kind}")) == (0.5, 0.5)


def test_an_sae_with_fewer_latents_than_k_is_probed_on_all_of_them() -> None:
    scene = world(d_sae=12)
    sums = counted(task(scene), scene)
    assert all(len(chosen) == 12 for chosen in sums.details[NAME]["latents"]["topic"].values())
    assert value(figures(task(scene), sums), "accuracy_k20") > 0.9


def test_metrics_name_what_a_suite_asks_for() -> None:
    some = Probing(ProbingSettings(k=(3, 1, 3)), [ExampleSet("a", ("x",))])
    assert some.params == {"k": [1, 3]}
    names = [metric.name for metric in some.metrics]
    assert len(names) == len(set(names))
    assert {"probing.accuracy_k3", "probing.a.x.transfer_auc_raw", "probing.transfer_change_k1"} <= set(names)
