"""The columns of boards: which figures stand there, under which heading, and what a reader is told about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from ..record import Measurement, Record
from .cells import Cell, Header
from .facts import (
    compression,
    relative_size,
    sae_bytes,
    sae_tokens_per_second,
    size_bytes,
    training_seconds,
    training_tokens,
)
from .figures import NO_VALUE, duration, figure, share, size

GAP = "perplexity.transfer_gap"
"""The primary metric: what sorts tables and what their ranks go by."""
L0 = "reconstruction.l0"
INCREASE = "perplexity.ce_model_increase"
SPLICED = "perplexity.ce_splice_increase"
VARIANCE = "reconstruction.explained_variance"
SURVIVED = "overlap.survived"
PROBES = "probing.transfer_accuracy_k5"

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
    number: Callable[[Record], float | None] | None = None
    """What it is sorted by, if it is no metric."""
    higher_is_better: bool | None = None
    """The direction of what is no metric."""
    explanation: str = ""
    """The meaning of what is no metric."""
    of_state: bool = False
    """Whether all cells of a state share it."""

    @property
    def key(self) -> str:
        """The metric, or the title as one word."""
        return self.metric or self.title.replace(" ", "_")

    @property
    def is_cost(self) -> bool:
        """Whether it depends on the hardware."""
        return self.metric is not None and self.metric.startswith("cost.")

    def is_empty(self, records: Iterable[Record]) -> bool:
        """Whether the column would hold nothing but dashes."""
        return all(self.show(record) == NO_VALUE for record in records)

    def cell(self, record: Record) -> Cell:
        """What stands in it for one record."""
        if self.metric is not None:
            return cell_of(record.metrics.get(self.metric))
        return Cell(self.show(record), value=self.number(record) if self.number else None)


def cell_of(measurement: Measurement | None, mark: str = "") -> Cell:
    """A figure as a cell, with a mark behind it."""
    if measurement is None or measurement.value is None:
        return Cell(NO_VALUE)
    return Cell(f"{figure(measurement)}{mark}", value=measurement.value, interval=measurement.ci)


def _metric(name: str, title: str, priority: int, of_state: bool = False) -> Column:
    return Column(title, priority, lambda record: figure(record.metrics.get(name)), name, of_state=of_state)


def _fact(
    title: str,
    priority: int,
    number: Callable[[Record], float | None],
    write: Callable[[float], str],
    explanation: str,
    higher_is_better: bool | None = None,
    of_state: bool = True,
) -> Column:
    """A column of one number that is no metric."""

    def show(record: Record) -> str:
        value = number(record)
        return NO_VALUE if value is None else write(value)

    return Column(
        title,
        priority,
        show,
        number=number,
        higher_is_better=higher_is_better,
        explanation=explanation,
        of_state=of_state,
    )


def _compression(record: Record) -> str:
    """What the compressor did to the matrices it was given: share of zeros, bits a weight."""
    sparsity, bits = compression(record, "sparsity"), compression(record, "effective_bits")
    parts = [share(sparsity)] if sparsity is not None and sparsity >= 0.005 else []
    parts += [f"{bits:.3g} bits"] if bits is not None else []
    return ", ".join(parts) or NO_VALUE


def _size(kind: str) -> Callable[[Record], str]:
    def show(record: Record) -> str:
        found = size_bytes(record, kind)
        return NO_VALUE if found is None else size(found, size_bytes(record, "dense"))

    return show


def _sae_cost(record: Record) -> str:
    seconds = training_seconds(record)
    return NO_VALUE if seconds is None else f"{duration(seconds)}, {training_tokens(record) or 0:,.0f} tokens"


def _verified(name: str) -> Callable[[Record], float | None]:
    return lambda record: compression(record, name)


_ZEROS = "share of exact zeros among the weights of the blocks' linear layers"
_BITS = "effective bits for each of these weights, scales and masks counted"
_SMALLEST = "bytes of the state's weights in the smallest layout that holds them"
SAE_COST = Column(
    "SAE cost",
    5,
    _sae_cost,
    number=training_seconds,
    explanation="wall time of making this SAE for this state, that of its activations included, and tokens read; "
    "nothing for a frozen one",
)
COLUMNS = (
    Column("compression", 4, _compression, number=_verified("effective_bits"), explanation=f"{_ZEROS}, and {_BITS}"),
    _metric(GAP, "transfer gap", 1),
    _metric(INCREASE, "model CE increase", 2, of_state=True),
    _metric(SPLICED, "splice CE increase", 4),
    _metric("perplexity.loss_recovered_zero", "loss recovered", 6),
    _metric(SURVIVED, "features survived", 2),
    _metric(PROBES, "dense probes, 5 latents", 3),
    _metric("probing.accuracy_k5", "own probes, 5 latents", 5),
    _metric("downstream.accuracy_splice_change", "downstream change", 5),
    _metric(VARIANCE, "explained variance", 2),
    _metric(L0, "L0", 3),
    SAE_COST,
    _fact(
        "SAE size",
        6,
        sae_bytes,
        lambda found: size(found, None),
        "bytes of the SAE's weights in the smallest layout that holds them",
        of_state=False,
    ),
    _fact(
        "SAE tokens/s",
        6,
        sae_tokens_per_second,
        "{:,.0f}".format,
        "tokens that the SAE encodes and decodes in a second where this cell was measured, median of several runs",
        higher_is_better=True,
        of_state=False,
    ),
    Column(
        "size",
        4,
        _size("theoretical"),
        number=size_bytes,
        explanation=f"{_SMALLEST}, and their share of the dense model's",
        of_state=True,
    ),
    Column(
        "size held",
        6,
        _size("actual"),
        number=lambda record: size_bytes(record, "actual"),
        explanation="bytes of the weights as they lay in memory during the measurement",
        of_state=True,
    ),
)
"""The columns of the table of cells."""

_WEIGHTS = (
    _fact("zeros", 2, _verified("sparsity"), share, _ZEROS),
    _fact("bits", 2, _verified("effective_bits"), "{:.3g}".format, _BITS),
    _fact("size", 1, relative_size, share, f"{_SMALLEST}, as a share of the dense model's", higher_is_better=False),
)
_ERRORS = (
    _fact(
        "weight error",
        4,
        _verified("weight_error"),
        "{:.3f}".format,
        "norm of the change of these weights, relative to their norm",
        higher_is_better=False,
    ),
    _fact(
        "output error",
        4,
        _verified("output_error"),
        "{:.3f}".format,
        "the same for the outputs of these layers on calibration text",
        higher_is_better=False,
    ),
)
SPEED = (
    _metric("cost.latency_ms_p50", "latency", 3, of_state=True),
    _metric("cost.decode_tokens_per_second", "decoding", 3, of_state=True),
)
COMPRESSORS = (
    *_WEIGHTS,
    *_ERRORS,
    _metric(INCREASE, "model CE increase", 1, of_state=True),
    _metric(GAP, "transfer gap", 1),
    _metric(SURVIVED, "features survived", 1),
    _metric(PROBES, "dense probes, 5 latents", 2),
    _metric(VARIANCE, "explained variance", 2),
    _metric("downstream.accuracy_model_change", "downstream change", 4, of_state=True),
    *SPEED,
)
"""What compressors are compared by: the weights, the model, its speed, and the features of frozen SAEs."""

_OF_STATES = (
    *_WEIGHTS,
    *_ERRORS,
    _metric(INCREASE, "model CE increase", 1),
    _metric(SURVIVED, "features survived", 1),
    _metric(VARIANCE, "explained variance", 1),
    _metric(GAP, "transfer gap", 1),
    _metric(L0, "L0", 1),
)
MEANINGS_OF_STATES = {column.title: column.explanation for column in _OF_STATES if column.explanation}
"""Meanings of those that are no metrics."""

TASKS = tuple(
    sorted({column.metric.split(".")[0] for column in (*COLUMNS, *COMPRESSORS) if column.metric and not column.is_cost})
)
"""Tasks whose versions and parameters must agree within a table."""


def of_states(records: Iterable[Record]) -> list[Column]:
    """The columns by which `try` compares compressors on one SAE; survival only where it was measured."""
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
    unit = "1"
    if column.metric is not None:
        known = defined(column.metric, definitions)
        unit = known.unit if known else _unit(column.metric, records)
    better = direction(column, definitions)
    arrow = "" if better is None else " ↑" if better else " ↓"
    return f"{column.title}{'' if unit == '1' else f' ({unit})'}{arrow}"


def head(column: Column, records: Iterable[Record], definitions: Mapping[str, Definition]) -> Header:
    """All that a renderer needs for the head of a column."""
    known = defined(column.metric, definitions) if column.metric else None
    return Header(
        text=header(column, records, definitions),
        numeric=True,
        priority=column.priority,
        key=column.key,
        meaning=known.text if known else column.explanation,
        higher_is_better=direction(column, definitions),
    )


def direction(column: Column, definitions: Mapping[str, Definition]) -> bool | None:
    """Which way is better; None where neither is, or where nobody has said."""
    known = defined(column.metric, definitions) if column.metric else None
    return known.higher_is_better if known else column.higher_is_better


def _unit(metric: str, records: Iterable[Record]) -> str:
    units = sorted({record.metrics[metric].unit for record in records if metric in record.metrics})
    return "/".join(units) or "1"
