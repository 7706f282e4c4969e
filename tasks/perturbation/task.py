"""The task `perturbation`: TPP (`tpp.py`) and SCR (`scr.py`), by ablations that need no model (`ablation.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from ..examples import Examples, ExampleSet
from ..metric import Metric
from ..probing.problems import sample_name
from ..task import Fitted, Sums
from .metrics import SCR_EXAMPLES, TPP_EXAMPLES, by_attribute, metrics_of, scr_key, tpp_key
from .scr import pairs_of, scr_sums
from .tpp import tpp_sums, why_no_tpp


class PerturbationSettings(BaseModel):
    """What a suite can choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    latents: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (2, 5, 10, 20, 50, 100, 500)
    """Numbers of latents that are ablated; one that an SAE does not have gives no value."""


@dataclass
class _SetCount:
    """What is counted on a set."""

    sums: dict[str, np.ndarray] = field(default_factory=dict)
    constants: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, list[list[str]]] = field(default_factory=dict)

    def add(self, key: str, total: str, sums: Mapping[str, np.ndarray]) -> None:
        """Add the sums of an attribute or of a pair of attributes."""
        self.sums |= {f"{key}.{name}": values for name, values in sums.items()}
        self.constants[total] = self.constants.get(total, 0.0) + float(sums["n"].sum())


class Perturbation:
    """The task `perturbation`, on some sets of examples."""

    name = "perturbation"
    version = 1
    paired: tuple[str, ...] = ()

    def __init__(self, settings: PerturbationSettings, sets: Sequence[ExampleSet]) -> None:
        self._sizes = sorted(set(settings.latents))
        self._sets = {one.name: one for one in sets}
        self._metrics = metrics_of(self._sizes, sets)

    @property
    def params(self) -> Mapping[str, Any]:
        """How many latents are ablated."""
        return {"latents": self._sizes}

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Over all sets; those of attributes are in the details."""
        return self._metrics

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets of examples that it looks at."""
        return tuple(self._sets)

    def fit(self, examples: Mapping[str, Examples]) -> Fitted:  # noqa: ARG002
        """Nothing is tested on another state."""
        return {}

    def count(self, examples: Mapping[str, Examples], own: Fitted, dense: Fitted | str) -> Sums:  # noqa: ARG002
        """Right answers of probes on activations, with and without latents, by test example."""
        counts = {name: self._count_set(examples[name]) for name in self._sets}
        constants = {TPP_EXAMPLES: 0.0, SCR_EXAMPLES: 0.0}
        for count in counts.values():
            for key, value in count.constants.items():
                constants[key] = constants.get(key, 0.0) + value
        totals = {key: values.sum(axis=0) for count in counts.values() for key, values in count.sums.items()}
        details: dict[str, Any] = {
            name: {"left_out": count.left_out, "pairs": count.pairs} for name, count in counts.items()
        }
        return Sums(
            samples={sample_name(name): count.sums for name, count in counts.items() if count.sums},
            constants=constants,
            details=details | {"by_attribute": by_attribute(self._sizes, list(self._sets.values()), totals)},
        )

    def _count_set(self, examples: Examples) -> _SetCount:
        site, count = examples.site, _SetCount()
        sizes = [n for n in self._sizes if n <= examples.decoder.shape[0]]
        for attribute in site.set.attributes:
            key, reason = tpp_key(site.set.name, attribute), why_no_tpp(examples, attribute)
            if reason:
                count.left_out[attribute] = reason
                count.constants[f"{key}.n"] = 0.0
            else:
                count.add(key, TPP_EXAMPLES, tpp_sums(examples, attribute, sizes))
        for target, spurious in site.set.spurious:
            key, pairs = scr_key(site.set.name, target, spurious), pairs_of(site, target, spurious)
            if pairs.left_out:
                count.left_out[f"{target}, {spurious}"] = pairs.left_out
            if pairs.found:
                count.pairs[f"{target}, {spurious}"] = [list(pair.values) for pair in pairs.found]
                count.add(key, SCR_EXAMPLES, scr_sums(examples, target, spurious, sizes))
            else:
                count.constants[f"{key}.n"] = 0.0
        return count
