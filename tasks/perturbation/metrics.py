"""The metrics of perturbation: TPP of attributes, SCR of pairs of attributes; all of them functions of accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..examples import ExampleSet
from ..metric import Metric, Totals, Values, ratio
from .scr import DIRECTIONS

SOURCE = "SAEBench, scr_and_tpp"
TPP_EXAMPLES = "perturbation.tpp_n"
"""Constant: test examples of all problems of TPP."""
SCR_EXAMPLES = "perturbation.scr_n"
"""The same for SCR."""
SMALLEST_GAP = 0.001
"""What a biased probe must lack in accuracy for there to be something to remove; below, SAEBench gives 0."""
NO_TPP = "no attribute has three values with enough labelled examples, or the SAE has fewer latents than that"
NO_SCR = (
    "no pair of attributes with enough labelled examples, no probe that picks up their correlation, or the SAE has "
    "fewer latents than that"
)


def tpp_key(set_name: str, attribute: str) -> str:
    """What the names of an attribute's sums begin with."""
    return f"perturbation.{set_name}.{attribute}"


def scr_key(set_name: str, target: str, spurious: str) -> str:
    """What the names of the sums of a target and a spurious attribute begin with."""
    return f"perturbation.{set_name}.{target}_without_{spurious}"


def metrics_of(sizes: Sequence[int], sets: Sequence[ExampleSet]) -> tuple[Metric, ...]:
    """All metrics, over all sets."""
    tpp_keys = [tpp_key(one.name, attribute) for one in sets for attribute in one.attributes]
    scr_keys = [scr_key(one.name, *pair) for one in sets for pair in one.spurious]
    return (*_tpp(sizes, tpp_keys), *_scr(sizes, scr_keys))


def by_attribute(sizes: Sequence[int], sets: Sequence[ExampleSet], totals: Totals) -> dict[str, dict[str, float]]:
    """The figures of every attribute and pair of attributes that has any: for the details of a record."""
    keys = [tpp_key(one.name, attribute) for one in sets for attribute in one.attributes]
    keys += [scr_key(one.name, *pair) for one in sets for pair in one.spurious]
    found: dict[str, dict[str, float]] = {}
    for key in keys:
        values = {
            metric.name.removeprefix("perturbation."): float(metric.compute(totals))
            for metric in (*_tpp(sizes, [key]), *_scr(sizes, [key]))
        }
        defined = {name: value for name, value in values.items() if np.isfinite(value)}
        if defined:
            found[key.removeprefix("perturbation.")] = defined
    return found


def _tpp(sizes: Sequence[int], keys: Sequence[str]) -> list[Metric]:
    metric = partial(Metric, unit="1", source=SOURCE, undefined=NO_TPP, counted=TPP_EXAMPLES, valid_range=(-2.0, 2.0))
    figures: list[Metric] = []
    for n in sizes:
        figures += [
            metric(
                name=f"perturbation.tpp_{n}",
                higher_is_better=True,
                definition=f"tpp_intended_{n} - tpp_unintended_{n}",
                compute=partial(_difference, keys, n),
            ),
            metric(
                name=f"perturbation.tpp_intended_{n}",
                higher_is_better=True,
                definition=f"accuracy that a class's probe loses when {n} latents of that class are ablated",
                compute=partial(_lost, keys, "own", n),
                valid_range=(-1.0, 1.0),
            ),
            metric(
                name=f"perturbation.tpp_unintended_{n}",
                higher_is_better=False,
                definition=f"accuracy that a class's probe loses when {n} latents of another class are ablated",
                compute=partial(_lost, keys, "other", n),
                valid_range=(-1.0, 1.0),
            ),
        ]
    return figures


def _scr(sizes: Sequence[int], keys: Sequence[str]) -> list[Metric]:
    return [
        Metric(
            name=f"perturbation.scr_{n}",
            unit="1",
            higher_is_better=True,
            definition="share of the accuracy that a spurious correlation costs a probe which comes back when "
            f"{n} latents of the other attribute are ablated",
            source=SOURCE,
            compute=partial(_removed_over, keys, n),
            undefined=NO_SCR,
            counted=SCR_EXAMPLES,
        )
        for n in sizes
    ]


def _lost(keys: Sequence[str], what: str, n: int, totals: Totals) -> Values:
    """The accuracy that is lost, the mean over classes, then over attributes that have enough of them."""
    found = [
        np.mean(ratio(totals[f"{key}.clean"] - totals[f"{key}.{what}_{n}"], totals[f"{key}.n"]), axis=-1)
        for key in keys
        if f"{key}.{what}_{n}" in totals
    ]
    return np.mean(found, axis=0) if found else np.nan


def _difference(keys: Sequence[str], n: int, totals: Totals) -> Values:
    return _lost(keys, "own", n, totals) - _lost(keys, "other", n, totals)


def _removed_over(keys: Sequence[str], n: int, totals: Totals) -> Values:
    """The mean over those pairs of attributes that have a score."""
    found = [_removed(totals, key, n) for key in keys if f"{key}.ablated_{n}_dir1" in totals]
    if not found:
        return np.nan
    scores, defined = (np.stack(parts) for parts in zip(*found, strict=True))
    return ratio(np.where(defined, scores, 0.0).sum(axis=0), defined.sum(axis=0, dtype=np.float64))


def _removed(totals: Totals, key: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """SCR as the mean over pairs of values, each in its direction; and whether any had something to remove."""
    whats = ("clean", "biased", f"ablated_{n}")
    by_direction = {
        what: [ratio(totals[f"{key}.{what}_dir{direction}"], totals[f"{key}.n"]) for direction in DIRECTIONS]
        for what in whats
    }
    # The direction where the biased probe is worse: there is more to remove.
    first = by_direction["biased"][0] <= by_direction["biased"][1]
    clean, biased, ablated = (np.where(first, *by_direction[what]) for what in whats)
    gap = clean - biased
    # What is not finite counts as a gap, so that it is not taken for a correlation that nobody picked up.
    biting = ~(gap < SMALLEST_GAP)
    scores = np.where(biting, (ablated - biased) / np.where(biting, gap, 1.0), 0.0)
    return np.asarray(scores.mean(axis=-1)), np.asarray(biting.any(axis=-1))
