"""How far a quality figure has moved, with the 95 % interval of the step.

Paired bootstrap over documents. x_u are the sums that a record keeps of document u (`per_document`), f the metric, so
that f(sum_u x_u) is its value on the text. Of both records the same documents are drawn:

    D_b = f(sum_u w_bu x_u^new) - f(sum_u w_bu x_u^base),    w_b ~ Multinomial(n; 1/n, ..., 1/n),  b = 1 ... 1000

and the interval holds the middle 95 % of D_b (Efron 1979; paired differences as in Miller 2024, arXiv 2411.00640). What
is hard about a document is hard in both records and cancels. Sums of test examples are drawn as documents are; sums of
the same length share their draws.

Where a record does not keep the sums that a metric needs, the interval follows from those of the two values, as if
they had been measured on different texts: with h the half widths, the step has h = sqrt(h_base^2 + h_new^2), which is
wider than the paired one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..record import Measurement, Record
from .gauge import Gauge, Totals

N_DRAWS = 1000
_SEED = 0
PAIRED = "paired bootstrap over documents"
_RELATIVE_ERROR, _ABSOLUTE_ERROR = 1e-6, 1e-9

Sums = Mapping[str, Sequence[float]]
Drawn = Float[np.ndarray, " draw"]


class Step(NamedTuple):
    """How far a figure has moved."""

    base: float
    """The value that it starts from."""
    size: float
    """New value minus base value."""
    interval: tuple[float, float] | None
    """95 % interval of it; None where none can be given."""
    method: str
    """Where the interval comes from, for a reader."""


class Cell:
    """A cell, with what its metrics are computed from."""

    def __init__(self, record: Record, dense: Record | None) -> None:
        """`dense` is the same SAE on the dense state, in the same set of records."""
        self.record = record
        self._dense = dense

    def value(self, gauge: Gauge) -> float | None:
        """A metric as the record's own sums give it; None where it does not keep what that is computed from."""
        if gauge.compute is None or not self.record.per_document:
            return None
        try:
            with np.errstate(all="ignore"):  # what is undefined is no value
                value = np.asarray(gauge.compute(*self._whole), np.float64).item()
        except KeyError:
            return None
        return value if np.isfinite(value) else None

    def drawn(self, gauge: Gauge, value: float) -> Drawn | None:
        """A metric on every draw; None where the record does not keep what its value is computed from."""
        whole = self.value(gauge)
        if gauge.compute is None or whole is None or not is_close(whole, value):
            return None
        with np.errstate(all="ignore"):  # a draw without a value is left out
            return np.asarray(gauge.compute(*self._totals), np.float64)

    @cached_property
    def _sums(self) -> tuple[Sums, Sums]:
        return self.record.per_document, self._dense.per_document if self._dense else {}

    @cached_property
    def _whole(self) -> tuple[Totals, Totals]:
        own, dense = ({name: np.asarray([np.sum(values)]) for name, values in sums.items()} for sums in self._sums)
        return own, dense

    @cached_property
    def _totals(self) -> tuple[Totals, Totals]:
        own, dense = (
            {name: _weights(len(values)) @ np.asarray(values, np.float64) for name, values in sums.items()}
            for sums in self._sums
        )
        return own, dense


def is_close(counted: float, value: float) -> bool:
    """Whether a record's value is what its sums give: those are stored to the last digit."""
    return math.isclose(counted, value, rel_tol=_RELATIVE_ERROR, abs_tol=_ABSOLUTE_ERROR)


def step(metric: str, gauge: Gauge, base: Cell, new: Cell) -> Step:
    """The step of a metric from one cell to another.

    Raises:
        ValueError: one of them has no value.
    """
    old, fresh = base.record.metrics[metric], new.record.metrics[metric]
    if old.value is None or fresh.value is None:
        raise ValueError(f"{metric} has no value on one of the cells, so there is no step")
    before, size = old.value, fresh.value - old.value
    if _is_paired(base.record, new.record):
        first, second = base.drawn(gauge, before), new.drawn(gauge, fresh.value)
        if first is not None and second is not None:
            moved = second - first
            moved = moved[np.isfinite(moved)]
            if moved.size > N_DRAWS // 2:
                low, high = np.quantile(moved, (0.025, 0.975))
                return Step(before, size, (float(low), float(high)), PAIRED)
    return _unpaired(before, size, old, fresh)


def _is_paired(base: Record, new: Record) -> bool:
    """Whether the sums of both were counted over the same units, as far as their number tells."""
    both = base.per_document.keys() & new.per_document.keys()
    return all(len(base.per_document[name]) == len(new.per_document[name]) for name in both)


def _unpaired(before: float, size: float, old: Measurement, fresh: Measurement) -> Step:
    if old.ci is None or fresh.ci is None:
        return Step(before, size, None, "no interval in the records")
    half = math.hypot(*((ci[1] - ci[0]) / 2 for ci in (old.ci, fresh.ci)))
    return Step(before, size, (size - half, size + half), "intervals of both values")


@lru_cache(maxsize=8)
def _weights(n_units: int) -> Float[np.ndarray, "draw unit"]:
    """How often each unit was drawn."""
    rng = np.random.default_rng((_SEED, n_units))
    return rng.multinomial(n_units, np.full(n_units, 1.0 / n_units), size=N_DRAWS).astype(np.float64)
