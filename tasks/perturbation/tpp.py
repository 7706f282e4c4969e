"""Targeted probe perturbation (TPP): does ablating a class's latents hurt the probe of that class, and no other?

As in SAEBench (`create_tpp_plotting_dict`), for the m classes of an attribute and n latents: A_j is the accuracy of the
probe of class j on its own balanced test examples, A_j^i the same with the n latents of class i ablated.

    intended   = mean_i (A_i - A_i^i)
    unintended = mean_i mean_{j != i} (A_j - A_j^i)
    tpp        = intended - unintended

Two orders of summation give the same: unintended = mean_j (A_j - mean_{i != j} A_j^i), so that a sum by test example
and class is enough. Other than in SAEBench, probes are logistic regressions with L2 whose strength is cross-validated
inside the training examples (there: AdamW with an L1 penalty, the epoch chosen on the test examples), and an attribute
with two values, which has no other class than the complement, has no TPP.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..examples import Examples
from ..probing.probes import raw_probes
from ..probing.problems import problems_of
from ..probing.scores import answers, not_finite, right_answers
from .ablation import ablated_scores, ranked, readout, whole

FEWEST_CLASSES = 3


def why_no_tpp(examples: Examples, attribute: str) -> str | None:
    """Why an attribute has no TPP."""
    problems = problems_of(examples.site, attribute)
    if len(problems.found) >= FEWEST_CLASSES:
        return None
    left_out = "".join(f"; {value}: {reason}" for value, reason in problems.left_out.items())
    return (
        f"{FEWEST_CLASSES} values with enough examples are needed, there are {_n_values(examples, attribute)}{left_out}"
    )


def _n_values(examples: Examples, attribute: str) -> int:
    found = problems_of(examples.site, attribute).found
    values = {label for label in examples.site.train.labels[attribute] if label is not None}
    # A single problem may stand for both values of a binary attribute.
    return 2 if len(found) == 1 and len(values) == 2 else len(found)


def tpp_sums(examples: Examples, attribute: str, sizes: Sequence[int]) -> dict[str, np.ndarray]:
    """Right answers by test example and class: plain, with the class's own latents ablated, with another class's."""
    problems = problems_of(examples.site, attribute).found
    n_units = len(examples.test.written)
    probes = readout(examples.site, raw_probes(examples.site, attribute))
    sums = {"n": answers(problems, n_units)}
    if probes is None or not whole(examples):
        unknown = not_finite(problems, n_units)
        return sums | {"clean": unknown} | {f"{what}_{n}": unknown for what in ("own", "other") for n in sizes}
    scores = probes.scores(examples.site.test.activations)
    sums["clean"] = right_answers(problems, scores)
    sums |= {f"{what}_{n}": np.zeros((n_units, len(problems))) for what in ("own", "other") for n in sizes}
    for i, problem in enumerate(problems):
        latents = ranked(examples, problem.train, probes.weights[:, i], absolute=False)
        others = np.arange(len(problems)) != i
        for n, ablated in ablated_scores(scores, examples, probes, latents, sizes):
            right = right_answers(problems, ablated)
            sums[f"own_{n}"][:, i] = right[:, i]
            sums[f"other_{n}"][:, others] += right[:, others] / (len(problems) - 1)
    return sums
