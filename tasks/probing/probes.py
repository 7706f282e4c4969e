"""The probes of a cell: on a few latents, on all of them, and on the activations themselves.

Sparse probes (SAEBench, `sparse_probing`): the k latents with the largest |mean over positive - mean over negative| of
the training examples, and a logistic regression on them. As in SAEBench the difference is that of the pooled latents as
they are, so which latents are chosen depends on their scale (the fit does not, see `logistic.py`). All sparse probes of
a problem share the strength that cross-validation gives the largest k: fewer features hardly need any. Where an SAE has
fewer than k latents, all are taken.

Differences to SAEBench 0.6.0, on purpose: it takes C = 1 on unscaled features for sparse probes, trains the probes on
all latents and on activations with AdamW and keeps the epoch that is best *on the test set*, and gives no AUC.

Control: the same as the sparse probe of the largest k, with the training labels permuted; it is at chance if nothing
leaks. Half of each side keeps its label: labels permuted freely are correlated with the true ones by chance, which a
probe can pick up where an attribute dominates the latents (on the microworld, accuracies then scatter around 0.5 with
two to four times the standard error of the test examples; like this, with once to one and a half times).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ..examples import Examples, SiteExamples
from ..task import Fitted
from .logistic import Probe, Scaling, fit_probe, scaling_of
from .problems import Problem, Selection, generator, problems_of

RAW = "raw"
ALL = "all"
SHUFFLED = "shuffled"
LATENTS = "latents"
"""What all kinds of probes but `raw` look at."""

Features = Float[np.ndarray, "example feature"]


@dataclass(frozen=True)
class Probes:
    """The probes of an attribute's problems on one kind of features."""

    weights: Float[np.ndarray, "problem feature"]
    """Of standardised features."""
    intercepts: Float[np.ndarray, " problem"]
    chosen: Int[np.ndarray, "problem feature"] | None = None
    """Numbers of the latents that each probe looks at; None for all features."""

    def scores(self, features: Float[np.ndarray, "example all_features"]) -> Float[np.ndarray, "example problem"]:
        """Logits on standardised features."""
        if self.chosen is None:
            return features @ self.weights.T + self.intercepts
        return (features[:, self.chosen] * self.weights).sum(axis=-1) + self.intercepts


def sparse(k: int) -> str:
    """The name of the probes on k latents."""
    return f"k{k}"


def scaling_on(features: Features) -> Scaling | None:
    """Standardisation by training examples; None where there are none or not all is finite."""
    return scaling_of(features) if len(features) and np.isfinite(features).all() else None


def activation_scaling(site: SiteExamples) -> Scaling | None:
    """The same for the activations, once for all SAEs of a site."""
    return site.once("scaling of activations", lambda: scaling_on(site.train.activations))


def fit_activations(site: SiteExamples, selections: Sequence[Selection]) -> tuple[Probe, ...]:
    """Probes on the activations of some training examples; none where not all is finite."""
    scaling = activation_scaling(site)
    if scaling is None:
        return ()
    return tuple(fit_probe(scaling.apply(site.train.activations[one.rows]), one.positive) for one in selections)


def raw_probes(site: SiteExamples, attribute: str) -> tuple[Probe, ...]:
    """One probe for each problem on the activations, fitted once for all SAEs of a site."""
    selections = [problem.train for problem in problems_of(site, attribute).found]
    return site.once(f"probes of {attribute}", lambda: fit_activations(site, selections))


def fit_set(examples: Examples, ks: Sequence[int]) -> Fitted:
    """All that is fitted on the training examples of a set, by name; nothing on what is not finite."""
    site, name = examples.site, examples.site.set.name
    raw, latents = activation_scaling(site), scaling_on(examples.train.values)
    parts: dict[str, Scaling | Probes] = {}
    if raw is not None:
        parts[f"{name}.{RAW}"] = raw
    if latents is not None:
        parts[f"{name}.{LATENTS}"] = latents
    for attribute in site.set.attributes:
        problems = problems_of(site, attribute).found
        if problems and raw is not None:
            parts[f"{name}.{attribute}.{RAW}"] = _stacked(raw_probes(site, attribute))
        if problems and latents is not None:
            fits = [_fit_problem(examples.train.values, latents, one, ks, (name, attribute)) for one in problems]
            for kind in fits[0]:
                probes, chosen = zip(*(fit[kind] for fit in fits), strict=True)
                parts[f"{name}.{attribute}.{kind}"] = _stacked(probes, None if kind == ALL else chosen)
    return {
        f"{key}.{field}": array
        for key, part in parts.items()
        for field, array in vars(part).items()
        if array is not None
    }


def fitted_scaling(fitted: Fitted, set_name: str, kind: str) -> Scaling | None:
    """The standardisation for probes of a kind; None where none was fitted."""
    key = f"{set_name}.{RAW if kind == RAW else LATENTS}"
    return Scaling(fitted[f"{key}.mean"], fitted[f"{key}.scale"]) if f"{key}.mean" in fitted else None


def fitted_probes(fitted: Fitted, set_name: str, attribute: str, kind: str) -> Probes | None:
    """The probes of a kind; None where none were fitted."""
    key = f"{set_name}.{attribute}.{kind}"
    if f"{key}.weights" not in fitted:
        return None
    return Probes(fitted[f"{key}.weights"], fitted[f"{key}.intercepts"], fitted.get(f"{key}.chosen"))


def _fit_problem(
    latents: Features, scaling: Scaling, problem: Problem, ks: Sequence[int], names: tuple[str, str]
) -> dict[str, tuple[Probe, Int[np.ndarray, " chosen"]]]:
    """All kinds of probes on latents, with the latents that they look at."""
    rows, positive = problem.train.rows, problem.train.positive
    seen, most = latents[rows], max(ks)
    best = _largest_differences(seen, positive, most)
    widest = _fit_some(seen, scaling, best, positive, None)
    found = {ALL: (fit_probe(scaling.apply(seen), positive), best)}
    for k in ks:
        probe = widest if k == most else _fit_some(seen, scaling, best[:k], positive, widest.c)
        found[sparse(k)] = (probe, best[:k])
    shuffled = shuffled_labels(positive, generator(*names, problem.value, SHUFFLED))
    chosen = _largest_differences(seen, shuffled, most)
    return found | {SHUFFLED: (_fit_some(seen, scaling, chosen, shuffled, widest.c), chosen)}


def _fit_some(
    latents: Features,
    scaling: Scaling,
    chosen: Int[np.ndarray, " chosen"],
    positive: Bool[np.ndarray, " example"],
    c: float | None,
) -> Probe:
    return fit_probe(scaling.of(chosen).apply(latents[:, chosen]), positive, c)


def shuffled_labels(
    positive: Bool[np.ndarray, " example"], random: np.random.Generator
) -> Bool[np.ndarray, " example"]:
    """Permuted labels, half of each side positive."""
    labels = np.empty_like(positive)
    for offset, side in enumerate((positive, ~positive)):
        labels[side] = random.permutation((np.arange(side.sum()) + offset) % 2 == 0)
    return labels


def _largest_differences(
    latents: Features, positive: Bool[np.ndarray, " example"], k: int
) -> Int[np.ndarray, " chosen"]:
    """The k latents (all of them, if there are fewer) whose class means differ most; ties by their number."""
    means = [latents[side].mean(axis=0, dtype=np.float64) for side in (positive, ~positive)]
    return np.argsort(-np.abs(means[0] - means[1]), kind="stable")[:k]


def _stacked(probes: Sequence[Probe], chosen: Sequence[Int[np.ndarray, " _"]] | None = None) -> Probes:
    return Probes(
        np.stack([probe.weights for probe in probes]),
        np.array([probe.intercept for probe in probes]),
        None if chosen is None else np.stack(chosen),
    )
