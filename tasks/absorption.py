"""Feature absorption: words whose first letter the model knows, while the letter's own latents are silent.

SAEBench's first-letter absorption (0.6.0, `evals/absorption/feature_absorption_calculator.py`; Chanin et al., arXiv
2409.14507), on the SAE's own site. For a letter with unit probe direction p, main latents M (`letters.py`) and a test
word with activation x that begins with it and that the probe recognises:

    P   = x . p                         what the probe sees
    P_i = written_i (W_dec,i . p)       what latent i writes of it; c_i = cos(W_dec,i, p)
    A   = the sum of the 3 largest P_i > 0 of latents not in M with c_i >= 0.1

    fraction = 0 if A < 0.4 P or sum_M P_i >= P;  1 if sum_M P_i <= 0;  otherwise a / (a + sum_M P_i) with
               a = min(A, P - sum_M P_i)
    full     = 1 if no latent of M is above 1e-8 and the latent with the largest P_i has c_i >= 0.025 and P_i >= 0.4 P

A letter's score is its mean over those words; figures are means over letters whose probe has F1 above 0.6 on the test
words. SAEBench wants 20 such letters: a small vocabulary has fewer, so a suite may ask for less.

SAEBench takes P_i = f_i c_i, the same for decoder rows of norm 1, which its SAEs have. A letter that no latent speaks
for has no main latents and is left out, where SAEBench would take an arbitrary latent: an SAE that is silent would
otherwise seem free of absorption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field

from .examples import Examples, SiteExamples
from .letters import LetterProbe, is_letter, main_latents, probes
from .metric import Metric, Totals, Values, ratio
from .task import Fitted, Sums

WORDS = "words"
"""The set of examples: words in a prompt, by their tokens."""
LETTER = "letter"
"""Their attribute."""

SMALLEST_SHARE = 0.4
SMALLEST_COSINE_FRACTION = 0.1
SMALLEST_COSINE_FULL = 0.025
MOST_ABSORBERS = 3
SILENT_BELOW = 1e-8


class AbsorptionSettings(BaseModel):
    """What a suite can choose; the defaults are SAEBench's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_letters: Annotated[int, Field(ge=1, le=26)] = 20
    """Letters that must have a good probe."""
    min_probe_f1: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.6
    """A probe is good above this F1 score on the test words."""
    most_split_latents: Annotated[int, Field(ge=1)] = 10
    """Main latents of a letter at most."""
    min_f1_rise: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.03
    """A further main latent must raise F1 by more than this."""


@dataclass(frozen=True)
class _Letter:
    """One letter on the test words."""

    recognised: Bool[np.ndarray, " word"]
    """Words that begin with it and that the probe recognises."""
    fraction: Float[np.ndarray, " word"]
    """0 where not recognised."""
    full: Float[np.ndarray, " word"]
    latents: list[int]


def absorbed(
    x: Float[np.ndarray, "word d_in"],
    values: Float[np.ndarray, "word d_sae"],
    written: Float[np.ndarray, "word d_sae"],
    decoder: Float[np.ndarray, "d_sae d_in"],
    direction: Float[np.ndarray, " d_in"],
    main: list[int],
) -> tuple[Float[np.ndarray, " word"], Float[np.ndarray, " word"]]:
    """Absorption fraction and full absorption of words, see the head of this file."""
    seen = x.astype(np.float64) @ direction
    along = decoder.astype(np.float64) @ direction
    norms = np.linalg.norm(decoder, axis=1)
    cosines = along / np.where(norms > 0, norms, 1.0)
    parts = written * along
    of_main = parts[:, main].sum(axis=1)

    others = cosines >= SMALLEST_COSINE_FRACTION
    others[main] = False
    candidates = np.sort(np.maximum(parts[:, others], 0.0), axis=1)[:, ::-1]
    of_others = candidates[:, :MOST_ABSORBERS].sum(axis=1)
    taken = np.minimum(of_others, seen - of_main)
    partly = ratio(taken, taken + np.maximum(of_main, 0.0))
    none = (of_others < SMALLEST_SHARE * seen) | (of_main >= seen) | (seen <= 0)
    fraction = np.where(none, 0.0, np.where(of_main <= 0, 1.0, partly))

    top = parts.argmax(axis=1)
    largest = np.take_along_axis(parts, top[:, None], axis=1)[:, 0]
    silent = (values[:, main] < SILENT_BELOW).all(axis=1)
    full = silent & (cosines[top] >= SMALLEST_COSINE_FULL) & (seen > 0) & (largest >= SMALLEST_SHARE * seen)
    return fraction, full.astype(np.float64)


def _mean_over_letters(name: str, min_letters: int, totals: Totals) -> Values:
    """Mean over letters of a ratio of sums; a draw without any word of a letter has its other letters."""
    scores = ratio(totals[name], totals["n_recognised"])
    defined = np.isfinite(scores)
    mean = ratio(np.where(defined, scores, 0.0).sum(axis=-1), defined.sum(axis=-1, dtype=np.float64))
    return np.where(np.asarray(totals["n_letters"]) >= min_letters, mean, np.nan)


def _metrics(settings: AbsorptionSettings) -> tuple[Metric, ...]:
    least = settings.min_letters
    metric = partial(
        Metric,
        source="SAEBench 0.6.0, evals/absorption; arXiv 2409.14507",
        undefined=f"fewer than {least} letters have a probe with an F1 above {settings.min_probe_f1} and a latent that "
        "speaks for them: see the details for each letter, and lower min_letters for a small vocabulary",
        counted="n_recognised",
        higher_is_better=False,
    )
    return (
        metric(
            name="absorption.fraction_mean",
            unit="1",
            definition="mean over letters of how much of the letter's direction other latents write in place of its "
            "own",
            compute=partial(_mean_over_letters, "fraction", least),
            valid_range=(0.0, 1.0),
        ),
        metric(
            name="absorption.full_mean",
            unit="1",
            definition="mean over letters of the share of words on which the letter's latents are silent and another "
            "one writes it",
            compute=partial(_mean_over_letters, "full", least),
            valid_range=(0.0, 1.0),
        ),
        metric(
            name="absorption.split_latents_mean",
            unit="latents",
            definition="mean over letters of the number of latents that a letter is split into",
            compute=lambda totals: np.where(
                np.asarray(totals["n_letters"]) >= least, ratio(totals["n_latents"], totals["n_letters"]), np.nan
            ),
            valid_range=(1.0, float(settings.most_split_latents)),
            counted="n_letters",
            resampled=False,
        ),
    )


class Absorption:
    """The task `absorption`."""

    name: str = "absorption"
    version: int = 1
    sets: tuple[str, ...] = (WORDS,)
    paired: tuple[str, ...] = ()

    def __init__(self, settings: AbsorptionSettings) -> None:
        self._settings = settings
        self.metrics: tuple[Metric, ...] = _metrics(settings)
        self.params: Mapping[str, Any] = settings.model_dump(mode="json")

    def fit(self, _examples: Mapping[str, Examples]) -> Fitted:
        """Nothing: main latents and probes belong to the state."""
        return {}

    def count(self, examples: Mapping[str, Examples], _own: Fitted, _dense: Fitted | str) -> Sums:
        """Absorption of the test words."""
        words = examples[WORDS]
        n_train, n_test = _n_words(words.site)
        if not _finite(words):
            return _no_sums(n_test, np.nan, "activations, latents or decoder hold NaN or infinity")
        if not n_train or not n_test:
            why = f"the tokenizer takes {n_train} words to fit on and {n_test} to test on whole"
            return replace(_no_sums(n_test, 0.0, why), reasons={metric.name: why for metric in self.metrics})
        found = words.site.once("letter probes", lambda: probes(words.site, LETTER))
        good = {letter: probe for letter, probe in found.items() if probe.f1 > self._settings.min_probe_f1}
        settings = self._settings
        main = main_latents(words, LETTER, list(good), settings.most_split_latents, settings.min_f1_rise)
        spoken_for = {letter: _count(words, letter, good[letter], main[letter]) for letter in good if main[letter]}
        return _sums(words, found, spoken_for)


def _finite(words: Examples) -> bool:
    latents = (words.train.values, words.train.written, words.test.values, words.test.written)
    arrays = (words.site.train.activations, words.site.test.activations, words.decoder, *latents)
    return all(bool(np.isfinite(array).all()) for array in arrays)


def _n_words(site: SiteExamples) -> tuple[int, int]:
    return len(site.train.activations), len(site.test.activations)


def _count(words: Examples, letter: str, probe: LetterProbe, main: list[int]) -> _Letter:
    recognised = is_letter(words.site.test.labels[LETTER], letter) & probe.fires
    fraction, full = (np.zeros(len(recognised)) for _ in range(2))
    fraction[recognised], full[recognised] = absorbed(
        words.site.test.activations[recognised],
        words.test.values[recognised],
        words.test.written[recognised],
        words.decoder,
        probe.direction,
        main,
    )
    return _Letter(recognised, fraction, full, main)


def _sums(words: Examples, found: Mapping[str, LetterProbe], counted: Mapping[str, _Letter]) -> Sums:
    """Sums by test word and letter."""
    n_test = _n_words(words.site)[1]

    def by_letter(columns: list[np.ndarray]) -> Float[np.ndarray, "word letter"]:
        # Without any letter there is a column of zeros: sums need a shape.
        return np.stack(columns, axis=1).astype(np.float64) if columns else np.zeros((n_test, 1))

    sums = {
        "n_recognised": by_letter([letter.recognised for letter in counted.values()]),
        "fraction": by_letter([letter.fraction for letter in counted.values()]),
        "full": by_letter([letter.full for letter in counted.values()]),
    }
    n_latents = sum(len(letter.latents) for letter in counted.values())
    constants = {"n_letters": float(len(counted)), "n_latents": float(n_latents)}
    letters = {letter: _details(probe, counted.get(letter)) for letter, probe in found.items()}
    return Sums({f"absorption.{WORDS}": sums}, constants, {"letters": letters})


def _details(probe: LetterProbe, counted: _Letter | None) -> dict[str, Any]:
    if counted is None:
        return {"probe_f1": probe.f1}
    n = int(counted.recognised.sum())
    return {
        "probe_f1": probe.f1,
        "latents": counted.latents,
        "words": n,
        "fraction": float(counted.fraction.sum() / n),
        "full": float(counted.full.sum() / n),
    }


def _no_sums(n_test: int, filler: float, why: str) -> Sums:
    """Sums from which every figure is undefined; NaN among them says that something was not finite."""
    shape = (max(1, n_test), 1)
    sums = {"n_recognised": np.zeros(shape), "fraction": np.full(shape, filler), "full": np.full(shape, filler)}
    return Sums({f"absorption.{WORDS}": sums}, {"n_letters": 0.0, "n_latents": 0.0}, {"reason": why})
