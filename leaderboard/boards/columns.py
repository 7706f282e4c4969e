"""The columns of a board: which figures stand there, under which heading, and what a reader is told about them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from ..record import Record
from .figures import NO_VALUE, figure, share, size

GAP = "perplexity.transfer_gap"
"""The primary metric: what sorts a section and where the best stands out."""
L0 = "reconstruction.l0"
INCREASE = "perplexity.ce_model_increase"
VARIANCE = "reconstruction.explained_variance"
SURVIVED = "overlap.survived"

Known = TypeVar("Known")
"""Whatever somebody knows of each metric."""


class Definition(NamedTuple):
    """What a board says about a metric."""

    unit: str
    """`1` for a ratio, otherwise `nats`, `bytes`, ..."""
    higher_is_better: bool | None
    """None where neither direction is better."""
    text: str


@dataclass(frozen=True)
class Column:
    """One column between the names and the status."""

    title: str
    priority: int
    """1 for what a table is not a table without; columns of the highest number go first where room is short."""
    show: Callable[[Record], str]
    metric: str | None = None
    """The metric that stands in it, if it is one."""

    def is_empty(self, records: Iterable[Record]) -> bool:
        """Whether the column would hold nothing but dashes."""
        return all(self.show(record) == NO_VALUE for record in records)


def _metric(name: str, title: str, priority: int) -> Column:
    return Column(title, priority, lambda record: figure(record.metrics.get(name)), name)


def _compression(record: Record) -> str:
    """What the compressor did to the matrices it was given: share of zeros, bits a weight."""
    facts = record.compression or {}
    sparsity, bits = _number(facts, "sparsity"), _number(facts, "effective_bits")
    parts = [share(sparsity)] if sparsity is not None and sparsity >= 0.005 else []
    parts += [f"{bits:.3g} bits"] if bits is not None else []
    return ", ".join(parts) or NO_VALUE


def _size(kind: str) -> Callable[[Record], str]:
    def show(record: Record) -> str:
        sizes = (record.compression or {}).get("bytes")
        size_bytes = _number(sizes, kind)
        return NO_VALUE if size_bytes is None else size(size_bytes, _number(sizes, "dense"))

    return show


def _fact(name: str, show: Callable[[float], str]) -> Callable[[Record], str]:
    """What verification measured on the weights."""

    def shown(record: Record) -> str:
        value = _number(record.compression, name)
        return NO_VALUE if value is None else show(value)

    return shown


def _sae_cost(record: Record) -> str:
    """What making the SAE took; nothing for one that was there before the model was compressed."""
    cost = (record.sae or {}).get("cost")
    seconds, tokens = _number(cost, "seconds"), _number(cost, "tokens")
    if seconds is None or record.labels.sae_source in ("pretrained", "random") or record.spec.sae.get("on") == "dense":
        return NO_VALUE
    return f"{seconds:.0f} s, {tokens or 0:,.0f} tokens"


def _sae_size(record: Record) -> str:
    size_bytes = _number(record.sae, "smallest_bytes")
    return NO_VALUE if size_bytes is None else size(size_bytes, None)


def _relative_size(record: Record) -> str:
    sizes = (record.compression or {}).get("bytes")
    size_bytes, dense_bytes = _number(sizes, "theoretical"), _number(sizes, "dense")
    return share(size_bytes / dense_bytes) if size_bytes is not None and dense_bytes else NO_VALUE


def _number(facts: Any, key: str) -> float | None:
    """A number from a part of a record whose fields are open."""
    value = facts.get(key) if isinstance(facts, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


COLUMNS = (
    Column("compression", 4, _compression),
    _metric(GAP, "transfer gap", 1),
    _metric(INCREASE, "model CE increase", 2),
    _metric("perplexity.ce_splice_increase", "splice CE increase", 4),
    _metric("perplexity.loss_recovered_zero", "loss recovered", 6),
    _metric(SURVIVED, "features survived", 2),
    _metric("probing.transfer_accuracy_k5", "dense probes, 5 latents", 3),
    _metric("probing.accuracy_k5", "own probes, 5 latents", 5),
    _metric("downstream.accuracy_splice_change", "downstream change", 5),
    _metric(VARIANCE, "explained variance", 2),
    _metric(L0, "L0", 3),
    Column("SAE cost", 5, _sae_cost),
    Column("SAE size", 6, _sae_size),
    Column("size", 4, _size("theoretical")),
    Column("size held", 6, _size("actual")),
)
_OF_STATES = (
    Column("zeros", 1, _fact("sparsity", share)),
    Column("bits", 1, _fact("effective_bits", "{:.3g}".format)),
    Column("size", 1, _relative_size),
    Column("weight error", 1, _fact("weight_error", "{:.3f}".format)),
    Column("output error", 1, _fact("output_error", "{:.3f}".format)),
    _metric(INCREASE, "model CE increase", 1),
    _metric(SURVIVED, "features survived", 1),
    _metric(VARIANCE, "explained variance", 1),
    _metric(GAP, "transfer gap", 1),
    _metric(L0, "L0", 1),
)
"""What compressors are compared by: the weights, the model, and the features of one SAE."""

MEANINGS_OF_STATES = {
    "zeros": "share of exact zeros among the weights of the blocks' linear layers",
    "bits": "effective bits for each of these weights, scales and masks counted",
    "size": "bytes of the model's weights in the smallest layout that holds them, as a share of the dense model's",
    "weight error": "norm of the change of these weights, relative to their norm",
    "output error": "the same for the outputs of these layers on calibration text",
}
"""Meanings of those that are no metrics."""
TASKS = tuple(sorted({column.metric.split(".")[0] for column in COLUMNS if column.metric}))
"""Tasks whose versions and parameters must agree within a table."""
EXPLANATIONS = {
    "SAE cost": "wall time of making this SAE for this state, that of its activations included, and tokens read; "
    "nothing for a frozen one",
    "SAE size": "bytes of the SAE's weights in the smallest layout that holds them",
    "compression": "share of zeros among the weights of the compressed matrices, and effective bits for each of them, "
    "scales and indices included",
    "size": "bytes of the state's weights in the smallest layout that holds them, and their share of the dense model's",
    "size held": "bytes of the weights as they lay in memory during the measurement",
}
"""Meanings of the columns that are no metrics."""


def of_states(records: Iterable[Record]) -> list[Column]:
    """The columns by which compressors are compared; survival only where it was measured."""
    known = list(records)
    return [column for column in _OF_STATES if column.metric != SURVIVED or not column.is_empty(known)]


def defined(metric: str, definitions: Mapping[str, Known]) -> Known | None:
    """What is known of a metric.

    A figure of one data set (`probing.<set>.<attribute>.accuracy_k5`) is defined as that over all of them.
    """
    # Names of data sets may hold dots: only the first and the last part are the task's own.
    parts = metric.split(".")
    return definitions.get(metric) or definitions.get(f"{parts[0]}.{parts[-1]}")


def header(column: Column, records: Iterable[Record], definitions: Mapping[str, Definition]) -> str:
    """A column's heading: title, unit, and an arrow that points to the better side."""
    if column.metric is None:
        return column.title
    known = defined(column.metric, definitions)
    unit, higher_is_better, _ = known or Definition(_unit(column.metric, records), None, "")
    arrow = "" if higher_is_better is None else " ↑" if higher_is_better else " ↓"
    return f"{column.title}{'' if unit == '1' else f' ({unit})'}{arrow}"


def _unit(metric: str, records: Iterable[Record]) -> str:
    units = sorted({record.metrics[metric].unit for record in records if metric in record.metrics})
    return "/".join(units) or "1"
