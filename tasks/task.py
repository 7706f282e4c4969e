"""What a task is. Three kinds, by what they look at; each gives sums, from which figures and intervals follow.

- A `TextTask` is fed batches of the evaluation text: reconstruction, perplexity, overlap.
- A `LabelledTask` looks at pooled activations and latents of labelled examples: probing, perturbation, absorption.
- A `ModelTask` runs the model itself, with and without the SAE in it: downstream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .batch import CellBatch
from .examples import Examples
from .metric import Metric, Totals, UnitSums, Values

DOCUMENTS = "documents"
"""The sample of the evaluation text: its units are documents."""

DENSE_CELL = "dense_cell."
"""Prefix of the sums that a cell takes over from the same SAE entry on the dense state."""

Fitted = Mapping[str, np.ndarray]
"""Arrays that were fitted on one state and can be tested on another: the probes of an SAE, by name."""


@dataclass(frozen=True)
class Sums:
    """What a task has counted on one cell."""

    samples: Mapping[str, UnitSums]
    """Sums by resampling unit, for every sample: a set of units that are drawn together (the documents of the text,
    the test examples of a data set). Names of sums are unique across samples."""
    constants: Totals = field(default_factory=dict)
    """Totals that have no share of a unit."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else is worth knowing, as JSON values: the record keeps it under the task's name."""
    table: Mapping[str, np.ndarray] | None = None
    """Columns of a table by latent, for those who ask for it."""
    derived: Mapping[str, Callable[[Totals], Values]] = field(default_factory=dict)
    """What several metrics need, computed once for each set of totals and put beside them; later ones see earlier."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why metrics have no value on this cell, by their name, where it is known better than from `Metric.undefined`;
    what they would be computed from may be missing."""

    def total(self, name: str) -> float:
        """The total of one sum, or a constant."""
        found = [units[name].sum() for units in self.samples.values() if name in units]
        return float(found[0] if found else self.constants[name])


def with_dense_cell(sums: Sums, dense: UnitSums) -> Sums:
    """The sums of a cell, with those of the same SAE entry on the dense state beside them, named `dense_cell.NAME`.

    Sums that were counted over other units (another text, other examples) cannot be paired and are left out.
    """
    samples = {
        sample: {
            **units,
            **{
                DENSE_CELL + name: dense[name]
                for name, values in units.items()
                if name in dense and len(dense[name]) == len(values)
            },
        }
        for sample, units in sums.samples.items()
    }
    return replace(sums, samples=samples)


@runtime_checkable
class Task(Protocol):
    """A family of metrics measured on a cell."""

    @property
    def name(self) -> str:
        """As suites name it."""
        ...

    @property
    def version(self) -> int:
        """Raised whenever a figure would come out otherwise; part of the cell id."""
        ...

    @property
    def params(self) -> Mapping[str, Any]:
        """What a suite has chosen, as JSON values; part of the cell id."""
        ...

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All its metrics."""
        ...

    @property
    def paired(self) -> tuple[str, ...]:
        """Sums that records keep by unit, for paired comparisons between cells."""
        ...


@runtime_checkable
class Meter(Protocol):
    """The counting of one text task on one cell."""

    def update(self, batch: CellBatch) -> None:
        """Count a batch; batches may be of any size and come in any order."""
        ...

    def sums(self) -> Sums:
        """What has been counted."""
        ...


@runtime_checkable
class TextTask(Task, Protocol):
    """A task that is fed the evaluation text."""

    def meter(self, n_units: int) -> Meter:
        """A new count over that many documents."""
        ...


@runtime_checkable
class LabelledTask(Task, Protocol):
    """A task that looks at pooled activations and latents of labelled examples."""

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets of examples that it looks at."""
        ...

    def fit(self, examples: Mapping[str, Examples]) -> Fitted:
        """What is learnt from the training examples of a cell; nothing (`{}`) for a task that transfers nothing."""
        ...

    def count(self, examples: Mapping[str, Examples], own: Fitted, dense: Fitted | str) -> Sums:
        """Test what was fitted on the test examples.

        Args:
            examples: of this cell, by name of their set.
            own: what was fitted on this cell.
            dense: what was fitted on the dense state, with the frozen SAE that this one comes from; or why there is no
                such thing.
        """
        ...


@runtime_checkable
class ModelTask(Task, Protocol):
    """A task that runs the model itself."""

    def run(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Any:
        """The model as it is: once for all SAEs of a state."""
        ...

    def count(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        spliced: Callable[[], AbstractContextManager[None]],
        plain: Any,
    ) -> Sums:
        """The model with the SAE in it, against what `run` gave without."""
        ...
