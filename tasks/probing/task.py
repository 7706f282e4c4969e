"""The task `probing`: `probes.py` says what is fitted, `scores.py` what is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from ..examples import Examples, ExampleSet
from ..metric import Metric
from ..task import Fitted, Sums
from .count import count_set
from .metrics import N_EXAMPLES, kinds, metrics_of, pair_key
from .probes import fit_set
from .problems import sample_name


class ProbingSettings(BaseModel):
    """What a suite can choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    k: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 2, 5, 20)
    """Numbers of latents that sparse probes look at."""


class Probing:
    """The task `probing`, on some sets of examples."""

    name = "probing"
    version = 1

    def __init__(self, settings: ProbingSettings, sets: Sequence[ExampleSet]) -> None:
        self._ks = sorted(set(settings.k))
        self._sets = {one.name: one for one in sets}
        self._metrics = metrics_of(self._ks, sets)

    @property
    def params(self) -> Mapping[str, Any]:
        """How many latents sparse probes look at."""
        return {"k": self._ks}

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Over all sets, then for every attribute."""
        return self._metrics

    @property
    def paired(self) -> tuple[str, ...]:
        """One number a test example, set and kind of probe."""
        return tuple(f"{pair_key(name)}.accuracy_{kind}" for name in self._sets for kind in kinds(self._ks))

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets of examples that it looks at."""
        return tuple(self._sets)

    def fit(self, examples: Mapping[str, Examples]) -> Fitted:
        """Probes, with the latents that they look at and the constants that standardise them."""
        return {key: array for name in self._sets for key, array in fit_set(examples[name], self._ks).items()}

    def count(self, examples: Mapping[str, Examples], own: Fitted, dense: Fitted | str) -> Sums:
        """Right answers and AUC pseudo-values by test example, of this cell's probes and of the dense state's."""
        counts = {name: count_set(examples[name], self._ks, own, dense) for name in self._sets}
        constants = {key: value for count in counts.values() for key, value in count.constants.items()}
        missing = next((count.no_transfer for count in counts.values() if count.no_transfer), None)
        without = [metric.name for metric in self._metrics if "transfer_" in metric.name] if missing else []
        return Sums(
            samples={sample_name(name): count.sums for name, count in counts.items()},
            constants=constants | {N_EXAMPLES: sum(count.n_answers for count in counts.values())},
            details={name: count.details for name, count in counts.items()},
            reasons={name: str(missing) for name in without},
        )
