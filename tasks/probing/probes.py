"""The probes of a cell: on a few latents, on all of them, and on the activations themselves.

Sparse probes (SAEBench, `sparse_probing`): the k latents with the largest |mean over positive - mean over negative| of
the training examples, and a logistic regression on them. As in SAEBench the difference is that of the pooled latents as
they are, so which latents are chosen depends on their scale (the fit does not, see `logistic.py`). All sparse probes of
a problem share the strength that cross-validation gives the largest k: fewer features hardly need any. Where an SAE has
fewer than k latents, all are taken.

Differences to SAEBench 0.6.0, on purpose: it takes C = 1 on unscaled features for sparse probes, trains the probes on
all latents and on activations with AdamW and keeps the epoch that is best *on the test set*, and gives no AUC.

Control: the same as the sparse probe of the largest k, with the training labels permuted; it is at chance if nothing
leaks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ..examples import Examples, SiteExamples
from ..task import Fitted
from .logistic import Probe, Scaling, fit_probe, scaling_of
from .problems import Problem, generator, problems_of

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


@dataclass(frozen=True)
class Standardised:
    """The training examples of a set, standardised, with the constants that did it."""

    scaling: Scaling
    features: Features


def sparse(k: int) -> str:
    """The name of the probes on k latents."""
    return f"k{k}"


def standardised(features: Features) -> Standardised | None:
    """The training examples standardised by themselves; None where there are none or not all is finite."""
    if not len(features) or not np.isfinite(features).all():
        return None
    scaling = scaling_of(features)
    return Standardised(scaling, scaling.apply(features))


def standardised_activations(site: SiteExamples) -> Standardised | None:
    """The same for the activations, once for all SAEs of a site."""
    return site.once("standardised activations", lambda: standardised(site.train.activations))


def raw_probes(site: SiteExamples, attribute: str) -> tuple[Probe, ...]:
    """One probe for each problem on the activations, fitted once for all SAEs; none where not all is finite."""
    return site.once(f"probes of {attribute}", lambda: _raw_probes(site, attribute))


def _raw_probes(site: SiteExamples, attribute: str) -> tuple[Probe, ...]:
    train = standardised_activations(site)
    if train is None:
        return ()
    selections = [problem.train for problem in problems_of(site, attribute).found]
    return tuple(fit_probe(train.features[chosen.rows], chosen.positive) for chosen in selections)


def fit_set(examples: Examples, ks: Sequence[int]) -> Fitted:
    """All that is fitted on the training examples of a set, by name; nothing on what is not finite."""
    site, name = examples.site, examples.site.set.name
    raw, latents = standardised_activations(site), standardised(examples.train.values)
    fitted = {f"{name}.{kind}": train.scaling for kind, train in ((RAW, raw), (LATENTS, latents)) if train}
    arrays = {f"{key}.{part}": array for key, scaling in fitted.items() for part, array in vars(scaling).items()}
    for attribute in site.set.attributes:
        problems = problems_of(site, attribute).found
        kinds: dict[str, Probes] = {}
        if problems and raw:
            kinds[RAW] = _stacked(raw_probes(site, attribute))
        if problems and latents:
            kinds |= _on_latents(examples.train.values, latents.features, problems, ks, (name, attribute))
        for kind, probes in kinds.items():
            arrays |= {
                f"{name}.{attribute}.{kind}.{part}": array for part, array in vars(probes).items() if array is not None
            }
    return arrays


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


def _on_latents(
    latents: Features, features: Features, problems: Sequence[Problem], ks: Sequence[int], names: tuple[str, str]
) -> Mapping[str, Probes]:
    """All kinds of probes on latents, by their name."""
    most = max(ks)
    found: dict[str, list[tuple[Probe, Int[np.ndarray, " chosen"]]]] = {}
    whole: list[Probe] = []
    for problem in problems:
        rows, positive = problem.train.rows, problem.train.positive
        whole.append(fit_probe(features[rows], positive))
        best = _largest_differences(latents[rows], positive, most)
        widest = fit_probe(features[np.ix_(rows, best)], positive)
        for k in ks:
            chosen = best[:k]
            probe = widest if k == most else fit_probe(features[np.ix_(rows, chosen)], positive, widest.c)
            found.setdefault(sparse(k), []).append((probe, chosen))
        permuted = generator(*names, problem.value, SHUFFLED).permutation(positive)
        chosen = _largest_differences(latents[rows], permuted, most)
        probe = fit_probe(features[np.ix_(rows, chosen)], permuted, widest.c)
        found.setdefault(SHUFFLED, []).append((probe, chosen))
    kinds = {kind: _stacked([p for p, _ in fits], [chosen for _, chosen in fits]) for kind, fits in found.items()}
    return kinds | {ALL: _stacked(whole)}


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
