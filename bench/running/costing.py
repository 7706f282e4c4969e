"""The costs of a state and of its SAEs, as records keep them.

They are measured before the text is read, while the process holds the model and nothing else; SAEs when they are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil
from transformers import PreTrainedModel

from ...leaderboard.costs import Conditions, repeats
from ...leaderboard.record import Measurement, Record
from ...registry.compressors.outcome import WeightBytes
from ...registry.saes.build import Built
from ...tasks.cost import metrics
from ...tasks.cost.figure import CostFigure, counted, once, without
from ...tasks.cost.size import bytes_on_disk
from ...tasks.cost.task import Cost
from .profiling import Stopwatch, waited_seconds

NO_KERNEL = (
    "no kernel makes use of this compression: the weights take as many bytes in memory as the dense ones, and what "
    "would be timed is the dense model, or a simulation"
)
_NO_GPU = "no GPU"
_NEVER_RESET = "no interval: measured once, as the peak since the process began, which the system does not let it reset"


@dataclass
class Costing:
    """Measures the costs of one state."""

    task: Cost
    watch: Stopwatch
    dense: Mapping[str, Sequence[float]] | str
    """Repeats of the dense state's timings, by metric; or why they cannot be compared with those of this state."""
    is_dense: bool
    figures: dict[str, CostFigure] = field(default_factory=dict)
    """Of the state, by metric."""
    details: dict[str, Any] = field(default_factory=dict)

    def measure(self, model: PreTrainedModel, sizes: WeightBytes) -> None:
        """Time the state, then let it use memory; the compressor's seconds are the watch's."""
        found = self._compressing() | self._sizes(model, sizes) | self._memory(model)
        found |= self._speeds(model, sizes)
        self.figures = found

    def give_up(self, reason: str) -> None:
        """Note that the state cannot be measured, so that its other figures do not depend on this."""
        self.figures = {metric.name: without(reason) for metric in self.task.metrics}

    def measurements(self, of_sae: Mapping[str, CostFigure]) -> dict[str, Measurement]:
        """All costs of a cell."""
        found = {**self.figures, **of_sae}
        return {metric.name: _measurement(metric.unit, found[metric.name]) for metric in self.task.metrics}

    def details_with(self, of_sae: Mapping[str, CostFigure]) -> dict[str, Any]:
        """What stands beside the costs: what was timed, and every repeat."""
        found = {**self.figures, **of_sae}
        kept = {name: list(figure.repeats) for name, figure in found.items() if figure.repeats}
        return {"workload": self.task.workload, **self.details, "repeats": kept}

    def _compressing(self) -> dict[str, CostFigure]:
        seconds = [phase.seconds for phase in self.watch.phases if phase.name == "compress"]
        figure = once(seconds[0]) if seconds else without("the dense state is not compressed")
        return {metrics.COMPRESS.name: figure}

    def _sizes(self, model: PreTrainedModel, sizes: WeightBytes) -> dict[str, CostFigure]:
        found = {metrics.STORED: sizes.actual, metrics.THEORETICAL: sizes.theoretical}
        found[metrics.ON_DISK] = bytes_on_disk(model)
        return {metric.name: counted(size) for metric, size in found.items()}

    def _memory(self, model: PreTrainedModel) -> dict[str, CostFigure]:
        self.details["rss_before_bytes"] = psutil.Process().memory_info().rss
        with self.watch.phase("cost: memory"):
            self.task.exercise(model)
        phase = self.watch.phases[-1]
        resident = _peak(phase.peak_rss_bytes, "the system does not tell it")
        if not self.watch.resets_peaks and resident.value is not None:
            resident = CostFigure(resident.value, _NEVER_RESET)
        return {
            metrics.PEAK_RSS.name: resident,
            metrics.PEAK_ALLOCATED.name: _peak(phase.peak_cuda_bytes, _NO_GPU),
            metrics.PEAK_RESERVED.name: _peak(phase.peak_cuda_reserved_bytes, _NO_GPU),
        }

    def _speeds(self, model: PreTrainedModel, sizes: WeightBytes) -> dict[str, CostFigure]:
        if not self.is_dense and sizes.actual >= sizes.dense:
            untimed = self.task.untimed(NO_KERNEL)
            return {**untimed, **self.task.speedups(untimed, NO_KERNEL)}
        waited = waited_seconds()
        with self.watch.phase("cost: time"):
            timed, calls = self.task.time_state(model)
        self.details |= {**calls, "waiting_share": self._waiting_share(waited)}
        return {**timed, **self.task.speedups(timed, self._dense_repeats(timed))}

    def _waiting_share(self, waited_before: float | None) -> float | None:
        """Share of the last phase in which other processes had the processor that this one was ready for."""
        waited = waited_seconds()
        if waited is None or waited_before is None:
            return None
        return round((waited - waited_before) / self.watch.phases[-1].seconds, 3)

    def _dense_repeats(self, timed: Mapping[str, CostFigure]) -> Mapping[str, Sequence[float]] | str:
        return {name: figure.repeats for name, figure in timed.items()} if self.is_dense else self.dense


def dense_repeats(
    task: Cost, environment: Mapping[str, Any], dense: Record | None
) -> Mapping[str, Sequence[float]] | str:
    """What the dense state's timings were, by metric; or why they cannot be compared with those of another state.

    Args:
        environment: that of the other state's records.
        dense: a record of the dense state with its costs.
    """
    if dense is None:
        return "the dense state has no costs to compare with"
    why_not = Conditions(environment, task.workload).against(Conditions.of(dense))
    return why_not or {metric.name: repeats(dense, metric.name) for metric in task.metrics}


def costs_of(built: Built, speed: CostFigure) -> dict[str, CostFigure]:
    """The costs of an SAE: its speed, its bytes, and what making it took."""
    size = sum(parameter.nbytes for parameter in built.sae.parameters())
    if built.cost.tokens:
        seconds, tokens = once(built.cost.seconds, built.cost.tokens), counted(built.cost.tokens)
    else:
        seconds = tokens = without("it was not made from activations")
    return {
        metrics.SAE_SPEED.name: speed,
        metrics.SAE_BYTES.name: counted(size),
        metrics.SAE_SECONDS.name: seconds,
        metrics.SAE_TOKENS.name: tokens,
    }


def _peak(size_bytes: int | None, otherwise: str) -> CostFigure:
    return without(otherwise) if size_bytes is None else once(size_bytes)


def _measurement(unit: str, figure: CostFigure) -> Measurement:
    return Measurement(value=figure.value, unit=unit, ci=figure.ci, n=figure.n, reason=figure.reason, kind="cost")
