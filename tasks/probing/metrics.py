"""The metrics of probing: accuracy and AUC, of probes fitted on this cell and of those of the dense state.

figure of (set, attribute) = mean over its problems of (sum over test examples of values / number of test examples)
figure of the task         = mean over all (set, attribute) that have problems
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..examples import ExampleSet
from ..metric import Metric, Totals, Values, ratio
from ..task import DENSE_CELL
from .probes import ALL, RAW, SHUFFLED, sparse

SOURCE = "SAEBench, sparse_probing"
N_EXAMPLES = "probing.n"
"""Constant: test examples of all problems."""
NO_PROBLEM = "no attribute has two values with enough labelled examples, see the details of the task"
NO_TRANSFER = "no probes of the frozen SAE on the dense state fit this one"
NO_DENSE = "the same SAE has no figures on the dense state, or the probes of the dense state do not fit this SAE"


def kinds(ks: Sequence[int]) -> list[str]:
    """All kinds of probes but the control."""
    return [*map(sparse, ks), ALL, RAW]


def attribute_key(set_name: str, attribute: str) -> str:
    """What the names of an attribute's sums begin with."""
    return f"probing.{set_name}.{attribute}"


def pair_key(set_name: str) -> str:
    """What the names of the sums that are paired with the dense cell begin with: one number an example."""
    return f"probing.{set_name}"


def metrics_of(ks: Sequence[int], sets: Sequence[ExampleSet]) -> tuple[Metric, ...]:
    """All metrics: over all sets, then for every attribute."""
    keys = [attribute_key(one.name, attribute) for one in sets for attribute in one.attributes]
    figures = [*_figures("probing", ks, keys, N_EXAMPLES), _shuffled(keys), *_drops(ks, sets)]
    for key in keys:
        figures += _figures(key, ks, [key], f"{key}.n")
    return tuple(figures)


def _figures(prefix: str, ks: Sequence[int], keys: Sequence[str], counted: str) -> list[Metric]:
    metric = partial(Metric, unit="1", higher_is_better=True, counted=counted, valid_range=(0.0, 1.0), source=SOURCE)
    figures: list[Metric] = []
    for figure, what in (("accuracy", "share of right answers"), ("auc", "area under the ROC curve")):
        for kind in kinds(ks):
            name = f"{figure}_{kind}"
            figures.append(
                metric(
                    name=f"{prefix}.{name}",
                    definition=f"{what} of logistic probes on {_described(kind)}",
                    compute=partial(_mean_over, keys, name),
                    undefined=NO_PROBLEM,
                )
            )
            figures.append(
                metric(
                    name=f"{prefix}.transfer_{name}",
                    definition=f"{what} of the unchanged probes of the dense state on {_described(kind)}",
                    source="saetransfer",
                    compute=partial(_mean_over, keys, f"transfer_{name}"),
                    undefined=NO_TRANSFER,
                )
            )
    return figures


def _shuffled(keys: Sequence[str]) -> Metric:
    return Metric(
        name="probing.accuracy_shuffled",
        unit="1",
        higher_is_better=None,
        definition="control: accuracy of sparse probes chosen and fitted on permuted training labels; chance is 0.5",
        source="saetransfer",
        compute=partial(_mean_over, keys, f"accuracy_{SHUFFLED}"),
        undefined=NO_PROBLEM,
        counted=N_EXAMPLES,
        valid_range=(0.0, 1.0),
    )


def _drops(ks: Sequence[int], sets: Sequence[ExampleSet]) -> list[Metric]:
    return [
        Metric(
            name=f"probing.transfer_change_{kind}",
            unit="1",
            higher_is_better=True,
            definition="accuracy of the unchanged probes of the dense state here minus that of this SAE entry's own "
            f"probes on the dense state, same test examples, on {_described(kind)}",
            source="saetransfer",
            compute=partial(_drop, [pair_key(one.name) for one in sets], kind),
            undefined=NO_DENSE,
            counted=N_EXAMPLES,
            valid_range=(-1.0, 1.0),
        )
        for kind in kinds(ks)
    ]


def _described(kind: str) -> str:
    if kind == RAW:
        return "pooled activations"
    return "all latents" if kind == ALL else f"the {kind[1:]} latents whose class means differ most"


def _mean_over(keys: Sequence[str], figure: str, totals: Totals) -> Values:
    """The mean over those attributes that have problems; drawn AUCs are cut off at 1, where linearisation oversteps."""
    found = [
        np.mean(ratio(totals[f"{key}.{figure}"], totals[f"{key}.n"]), axis=-1)
        for key in keys
        if f"{key}.{figure}" in totals
    ]
    return np.clip(np.mean(found, axis=0), 0.0, 1.0) if found else np.nan


def _drop(keys: Sequence[str], kind: str, totals: Totals) -> Values:
    here, there = f"transfer_accuracy_{kind}", f"{DENSE_CELL}{{}}.accuracy_{kind}"
    both = [key for key in keys if f"{key}.{here}" in totals and there.format(key) in totals]
    if not both:
        return np.nan
    # Sums of a set add up over its attributes.
    differences = [
        np.asarray(ratio(totals[f"{key}.{here}"] - totals[there.format(key)], totals[f"{key}.examples"]))
        for key in both
    ]
    return np.sum(differences, axis=0) / sum(float(totals[f"{key}.attributes"]) for key in both)
