"""Whether an SAE's latents are the same on the compressed model.

What is compared, on the same tokens:

- the latents of the SAE on this state with those of the frozen SAE that it is, or was made from, on the dense state:
  latent by latent (`pearson.py`, `survivors.py`) and token by token;
- the activations at the site with those of the dense state;
- the SAE with the frozen SAE at its site, whose latents have other numbers (`dictionaries.py`).

Where there is nothing to compare with, the figures have the reason in place of a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..batch import CellBatch, Dictionaries
from ..estimate import NOT_FINITE
from ..firings import firings
from ..metric import Metric
from ..tally import Tally
from ..task import DOCUMENTS, Sums
from . import figures
from .dictionaries import (
    MOST_PAIRS,
    NOT_FINITE_DECODER,
    TOO_MANY_PAIRS,
    Nearest,
    PairSums,
    by_direction,
)
from .pearson import LatentSums
from .settings import OverlapSettings
from .survivors import latent_sums

NO_TEXT = "no valid tokens"


class _Figures(NamedTuple):
    """The metrics of the task, by what they need."""

    by_latent: tuple[Metric, ...]
    by_token: tuple[Metric, ...]
    activations: tuple[Metric, ...]
    decoder: tuple[Metric, ...]
    correlation: tuple[Metric, ...]


class OverlapMeter:
    """Sums of the overlap task on one cell."""

    def __init__(self, settings: OverlapSettings, metrics: _Figures, n_units: int) -> None:
        self._settings = settings
        self._metrics = metrics
        self._n_units = n_units
        self._tally = Tally(n_units)
        self._dictionaries: Dictionaries | None = None
        self._latents: LatentSums | None = None
        self._pairs: PairSums | None = None

    def update(self, batch: CellBatch) -> None:
        """Count a batch."""
        self._dictionaries = batch.dictionaries
        self._add_activations(batch)
        if not isinstance(batch.dictionaries.origin, str):
            self._add_latents(batch)
        if _no_pairs(batch.dictionaries) is None:
            self._add_pairs(batch)

    def _add_activations(self, batch: CellBatch) -> None:
        x, dense, unit = batch.site.activations.double(), batch.site.dense_activations.double(), batch.state.unit
        dense_squared = dense.square().sum(dim=1)
        # The square of a square has an exact root, so that a state against itself has a cosine of exactly 1.
        norms = (x.square().sum(dim=1) * dense_squared).sqrt()
        drift = (x - dense).norm(dim=1) / torch.where(dense_squared == 0, 1.0, dense_squared.sqrt())
        self._tally.add("n_tokens", torch.ones_like(drift), unit)
        self._tally.add("activation_drift", drift, unit)
        self._tally.add("activation_cosine", (x * dense).sum(dim=1) / torch.where(norms == 0, 1.0, norms), unit)

    def _add_latents(self, batch: CellBatch) -> None:
        dense, own, unit = _known(batch.origin_features), batch.placed_features, batch.state.unit
        if dense.shape[1] != own.shape[1]:
            raise ValueError(
                f"the frozen SAE has {dense.shape[1]} latents and this one {own.shape[1]}: latents that do "
                "not correspond by number cannot be compared; give the reason as `Dictionaries.origin`"
            )
        fired = batch.firings if own is batch.features else firings(own)
        if self._latents is None:
            self._latents = LatentSums(self._n_units, dense.shape[1])
        dense_fired = firings(dense)
        shared = self._latents.add(dense, dense_fired, fired, unit)
        either = dense_fired.by_token() + fired.by_token() - shared
        # A NaN is not 0 and would count as a firing like any other: its token has no overlap.
        valid = 1.0 + 0.0 * (dense_fired.total_by_token() + fired.total_by_token())
        self._tally.add("n_firing_tokens", (either > 0).double(), unit)
        self._tally.add("token_jaccard", valid * shared / either.clamp(min=1), unit)

    def _add_pairs(self, batch: CellBatch) -> None:
        own, other = batch.features, _known(batch.counterpart_features)
        if self._pairs is None:
            self._pairs = PairSums(own.shape[1], other.shape[1])
        self._pairs.add(own, other, batch.firings, firings(other))

    def sums(self) -> Sums:
        """Sums by document and by latent, and what does not follow from them."""
        if self._dictionaries is None:
            return Sums({}, {"n_tokens": 0.0}, reasons=_for(_every(self._metrics), NO_TEXT))
        by_document = self._tally.sums()
        finite = all(np.isfinite(values).all() for values in by_document.values())
        parts = (
            Sums({DOCUMENTS: by_document}),
            self._of_latents(self._dictionaries, finite),
            self._of_directions(self._dictionaries),
            self._of_pairs(self._dictionaries, finite),
        )
        return _merged(parts)

    def _of_latents(self, dictionaries: Dictionaries, finite: bool) -> Sums:
        of_latents, of_tokens = self._metrics.by_latent, self._metrics.by_token
        if self._latents is None:
            constants = {"n_active": 0.0, "n_firing_tokens": 0.0}
            return Sums({}, constants, reasons=_for((*of_latents, *of_tokens), str(dictionaries.origin)))
        if not finite:
            return Sums({}, {"n_active": 0.0}, reasons=_for(of_latents, NOT_FINITE))
        found = latent_sums(self._latents, _known(dictionaries.origin), self._settings)
        reasons = {} if found.samples else _for(of_latents, figures.NOT_ACTIVE)
        return _merged((found, Sums({}, reasons=reasons)))

    def _of_directions(self, dictionaries: Dictionaries) -> Sums:
        own, other = dictionaries.decoder, dictionaries.counterpart
        if isinstance(other, str):
            return _not_compared(figures.DECODER, self._metrics.decoder, other)
        if not (torch.isfinite(own).all() and torch.isfinite(other).all()):
            return _not_compared(figures.DECODER, self._metrics.decoder, NOT_FINITE_DECODER)
        return self._compared(figures.DECODER, self._metrics.decoder, by_direction(own, other))

    def _of_pairs(self, dictionaries: Dictionaries, finite: bool) -> Sums:
        if self._pairs is None:
            return _not_compared(figures.CORRELATION, self._metrics.correlation, str(_no_pairs(dictionaries)))
        if not (finite and self._pairs.finite()):
            return _not_compared(figures.CORRELATION, self._metrics.correlation, NOT_FINITE)
        nearest = self._pairs.nearest(self._settings.min_firings)
        return self._compared(figures.CORRELATION, self._metrics.correlation, nearest)

    def _compared(self, prefix: str, metrics: tuple[Metric, ...], found: Nearest) -> Sums:
        own, frozen = (best[np.isfinite(best)] for best in (found.own, found.other))
        if not (own.size and frozen.size):
            return _not_compared(prefix, metrics, figures.NO_SIMILARITY)
        constants = {
            f"{prefix}_own": own.mean(),
            f"{prefix}_frozen": frozen.mean(),
            f"{prefix}_mutual": found.mutual_share(self._settings.nearest_above),
            f"{prefix}_n_own": float(own.size),
            f"{prefix}_n_frozen": float(frozen.size),
        }
        return Sums({}, constants)


class Overlap:
    """The task `overlap`."""

    name = "overlap"
    version = 1
    paired = ("n_tokens", "activation_drift", "n_firing_tokens", "token_jaccard")

    def __init__(self, settings: OverlapSettings | None = None) -> None:
        self._settings = chosen = settings or OverlapSettings()
        self._metrics = _Figures(
            figures.by_latent(chosen.survived_above, chosen.damaged_below),
            figures.BY_TOKEN,
            figures.OF_ACTIVATIONS,
            figures.by_decoder(chosen.nearest_above),
            figures.by_correlation(chosen.nearest_above),
        )

    @property
    def params(self) -> Mapping[str, Any]:
        """What changes figures."""
        return self._settings.model_dump(exclude={"table"})

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All its metrics."""
        return _every(self._metrics)

    def meter(self, n_units: int) -> OverlapMeter:
        """A new count over that many documents."""
        return OverlapMeter(self._settings, self._metrics, n_units)


def _every(metrics: _Figures) -> tuple[Metric, ...]:
    return tuple(metric for group in metrics for metric in group)


def _no_pairs(dictionaries: Dictionaries) -> str | None:
    """Why no latent is correlated with every latent of the counterpart; None where they are."""
    own, other = dictionaries.decoder, dictionaries.counterpart
    if isinstance(other, str):
        return other
    if len(own) * len(other) > MOST_PAIRS:
        return TOO_MANY_PAIRS.format(own=len(own), other=len(other), most=MOST_PAIRS)
    return None


def _known(value: Tensor | str | None) -> Tensor:
    assert isinstance(value, torch.Tensor), "a dictionary without a reason has a decoder and latents"
    return value


def _for(metrics: Iterable[Metric], reason: str) -> dict[str, str]:
    return {metric.name: reason for metric in metrics}


def _not_compared(prefix: str, metrics: tuple[Metric, ...], reason: str) -> Sums:
    return Sums({}, {f"{prefix}_n_own": 0.0, f"{prefix}_n_frozen": 0.0}, reasons=_for(metrics, reason))


def _merged(parts: Iterable[Sums]) -> Sums:
    """The sums of parts that share no name."""
    found = Sums({})
    for part in parts:
        found = Sums(
            samples={**found.samples, **part.samples},
            constants={**found.constants, **part.constants},
            details={**found.details, **part.details},
            table=part.table if found.table is None else found.table,
            derived={**found.derived, **part.derived},
            reasons={**found.reasons, **part.reasons},
        )
    return found
