"""Ablating latents, and what linear probes on mean-pooled activations make of it, without running the model.

Ablation as in SAEBench (`ablated_precomputed_activations`): encode each token's activation x_t, set the latents S to 0,
decode, and add the error x_t - decode(f_t) that the SAE made:

    x'_t = decode(f_t without S) + (x_t - decode(f_t))

Decoders are affine: decode(f) = s_t f W + b, where s_t = 1 unless the SAE scales each token by its own norm. So

    x'_t = x_t - s_t f_t[S] W[S],    mean_t x'_t = mean_t x_t - (mean_t s_t f_t[S]) W[S]

and the last bracket is what `Latents.written` holds. A linear probe w . x + b on mean-pooled activations therefore sees

    score' = score - sum over l in S of written_l (W_l . w)

exactly: pooled activations and pooled latents are all that is needed.

Which latents (`get_effects_per_class_precomputed_acts`, `select_top_n_features`): latent l has the effect
(mean of written_l over positive - over negative training examples) (W_l . w). TPP sets negative differences to 0 first,
SCR takes the absolute value. The n latents with the largest effects are ablated, or as many as have an effect other
than 0. (Under TPP these may be fewer than have a positive one: then some without or with a negative effect come in, as
in SAEBench.) Ties go to the lower number. An effect is in units of the probe's score: the scale of a latent does not
matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ..examples import Examples, SiteExamples
from ..probing.logistic import Probe
from ..probing.probes import activation_scaling
from ..probing.problems import Selection

Scores = Float[np.ndarray, "unit probe"]


@dataclass(frozen=True)
class Readout:
    """Linear probes on pooled activations as they are."""

    weights: Float[np.ndarray, "d_in probe"]
    intercepts: Float[np.ndarray, " probe"]

    def scores(self, activations: Float[np.ndarray, "unit d_in"]) -> Scores:
        """Logits."""
        return activations.astype(np.float64) @ self.weights + self.intercepts


def readout(site: SiteExamples, probes: Sequence[Probe]) -> Readout | None:
    """The probes, for activations that are not standardised; None where none could be fitted."""
    scaling = activation_scaling(site)
    if scaling is None or not probes:
        return None
    unscaled = [probe.unscaled(scaling) for probe in probes]
    return Readout(np.stack([weights for weights, _ in unscaled], axis=1), np.array([b for _, b in unscaled]))


def whole(examples: Examples) -> bool:
    """Whether latents, decoder and the activations to be tested on are finite."""
    arrays = (examples.train.written, examples.test.written, examples.decoder, examples.site.test.activations)
    return all(np.isfinite(array).all() for array in arrays)


def ranked(
    examples: Examples, selection: Selection, weights: Float[np.ndarray, " d_in"], *, absolute: bool
) -> Int[np.ndarray, " latent"]:
    """Latents that have an effect on a probe's classes, as many as have one; the largest effect first."""
    written = examples.train.written[selection.rows]
    positive, negative = (
        written[side].mean(axis=0, dtype=np.float64) for side in (selection.positive, ~selection.positive)
    )
    difference = positive - negative if absolute else np.maximum(positive - negative, 0.0)
    effects = difference * (examples.decoder.astype(np.float64) @ weights)
    effects = np.abs(effects) if absolute else effects
    return np.argsort(-effects, kind="stable")[: np.count_nonzero(effects)]


def ablated_scores(
    scores: Scores, examples: Examples, probes: Readout, latents: Int[np.ndarray, " latent"], sizes: Sequence[int]
) -> Iterator[tuple[int, Scores]]:
    """Scores on the test examples with the first n latents ablated, for every n (in rising order)."""
    read = examples.decoder[latents].astype(np.float64) @ probes.weights
    written = examples.test.written[:, latents]
    done = 0
    for n in sizes:
        scores = scores - written[:, done:n] @ read[done:n]
        done = n
        yield n, scores
