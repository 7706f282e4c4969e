"""Counting a set of examples: probes of this cell and of the dense state on its test examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from ..examples import Examples
from ..task import Fitted
from .metrics import attribute_key, kinds, pair_key
from .probes import ALL, LATENTS, RAW, SHUFFLED, fitted_probes, fitted_scaling, sparse
from .problems import Problem, problems_of
from .scores import answers, auc_values, mean_values, not_finite, right_answers

Scores = Float[np.ndarray, "unit problem"]


@dataclass(frozen=True)
class SetCount:
    """What was counted on a set."""

    sums: dict[str, np.ndarray]
    """By test example."""
    constants: dict[str, float]
    details: dict[str, Any]
    n_answers: float
    """Test examples of all problems."""
    no_transfer: str | None
    """Why probes of the dense state cannot be tested here."""


class _Tester:
    """Probes that were fitted somewhere, on the test examples of this cell."""

    def __init__(self, examples: Examples, fitted: Fitted) -> None:
        self._examples = examples
        self._name = examples.site.set.name
        self._fitted = fitted

    def scores(self, attribute: str, kind: str) -> Scores | None:
        """Logits of the test examples; None where nothing could be fitted, or where there is anything not finite."""
        features = self._activations if kind == RAW else self._latents
        probes = fitted_probes(self._fitted, self._name, attribute, kind)
        return None if features is None or probes is None else probes.scores(features)

    @cached_property
    def _activations(self) -> Float[np.ndarray, "unit d_in"] | None:
        return self._standardised(self._examples.site.test.activations, RAW)

    @cached_property
    def _latents(self) -> Float[np.ndarray, "unit d_sae"] | None:
        return self._standardised(self._examples.test.values, LATENTS)

    def _standardised(
        self, features: Float[np.ndarray, "unit feature"], kind: str
    ) -> Float[np.ndarray, "unit feature"] | None:
        scaling = fitted_scaling(self._fitted, self._name, kind)
        return None if scaling is None or not np.isfinite(features).all() else scaling.apply(features)


def count_set(examples: Examples, ks: Sequence[int], own: Fitted, dense: Fitted | str) -> SetCount:
    """Right answers and AUC pseudo-values by test example, for every attribute that has problems."""
    site, name = examples.site, examples.site.set.name
    reason = dense if isinstance(dense, str) else _mismatch(examples, dense)
    testers = {"": _Tester(examples, own)}
    if not isinstance(dense, str) and reason is None:
        testers["transfer_"] = _Tester(examples, dense)
    n_units = len(examples.test.values)
    sums = {f"{pair_key(name)}.examples": np.ones(n_units)}
    constants: dict[str, float] = {f"{pair_key(name)}.attributes": 0.0}
    details: dict[str, Any] = {"left_out": {}, "latents": {}}
    n_answers = 0.0
    for attribute in site.set.attributes:
        problems = problems_of(site, attribute)
        if problems.left_out:
            details["left_out"][attribute] = dict(problems.left_out)
        if not problems.found:
            constants[f"{attribute_key(name, attribute)}.n"] = 0.0
            continue
        details["latents"][attribute] = _chosen_latents(own, name, attribute, ks, problems.found)
        constants[f"{pair_key(name)}.attributes"] += 1.0
        counted = _count_attribute(testers, name, attribute, ks, problems.found, n_units)
        n_answers += float(counted[f"{attribute_key(name, attribute)}.n"].sum())
        for key, values in counted.items():
            # Sums of the set add up over its attributes; those of an attribute are its own.
            sums[key] = sums[key] + values if key in sums else values
    return SetCount(sums, constants, details, n_answers, reason)


def _count_attribute(
    testers: dict[str, _Tester],
    name: str,
    attribute: str,
    ks: Sequence[int],
    problems: tuple[Problem, ...],
    n_units: int,
) -> dict[str, np.ndarray]:
    key, answered = attribute_key(name, attribute), answers(problems, n_units)
    sums = {f"{key}.n": answered}
    for prefix, tester in testers.items():
        for kind in kinds(ks):
            scores = tester.scores(attribute, kind)
            unknown = not_finite(problems, n_units)
            right = unknown if scores is None else right_answers(problems, scores)
            sums[f"{key}.{prefix}accuracy_{kind}"] = right
            sums[f"{key}.{prefix}auc_{kind}"] = unknown if scores is None else auc_values(problems, scores)
            sums[f"{pair_key(name)}.{prefix}accuracy_{kind}"] = mean_values(right, answered)
    scores = testers[""].scores(attribute, SHUFFLED)
    sums[f"{key}.accuracy_{SHUFFLED}"] = (
        not_finite(problems, n_units) if scores is None else right_answers(problems, scores)
    )
    return sums


def _mismatch(examples: Examples, dense: Fitted) -> str | None:
    """Why probes of the dense state cannot be tested here."""
    site, name = examples.site, examples.site.set.name
    for kind, n_features in ((ALL, examples.decoder.shape[0]), (RAW, examples.decoder.shape[1])):
        scaling = fitted_scaling(dense, name, kind)
        if scaling is not None and len(scaling.mean) != n_features:
            what = "activation channels" if kind == RAW else "latents"
            return f"{n_features} {what} here, {len(scaling.mean)} where the probes were fitted"
        for attribute in site.set.attributes:
            probes, problems = fitted_probes(dense, name, attribute, kind), problems_of(site, attribute).found
            if probes is not None and len(probes.intercepts) != len(problems):
                return f"{attribute} has {len(problems)} problems here, {len(probes.intercepts)} on the dense state"
    return None


def _chosen_latents(
    own: Fitted, name: str, attribute: str, ks: Sequence[int], problems: tuple[Problem, ...]
) -> dict[str, list[int]]:
    """By value, the latents of the widest sparse probe, largest difference first."""
    probes = fitted_probes(own, name, attribute, sparse(max(ks)))
    if probes is None or probes.chosen is None:
        return {}
    return {problem.value: chosen.tolist() for problem, chosen in zip(problems, probes.chosen, strict=True)}
