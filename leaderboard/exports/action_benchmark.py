"""github-action-benchmark (https://github.com/benchmark-action/github-action-benchmark): two files, one a direction.

Its tools `customBiggerIsBetter` and `customSmallerIsBetter` each read a list of `{name, unit, value, range, extra}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..boards.figures import number
from ..gate.gauge import Gauge, gauge_of
from ..gate.verdict import name_of
from ..record import Measurement, Record
from ..text import printable

BIGGER, SMALLER = "bigger-is-better.json", "smaller-is-better.json"


def documents(records: Iterable[Record], gauges: Mapping[str, Gauge]) -> dict[str, str]:
    """Both files as JSON, by name; figures of which neither direction is better stay out."""
    known = list(records)
    return {
        name: json.dumps(list(_entries(known, gauges, higher)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        for name, higher in ((BIGGER, True), (SMALLER, False))
    }


def _entries(records: Iterable[Record], gauges: Mapping[str, Gauge], higher: bool) -> Iterator[dict[str, Any]]:
    for record in records:
        for metric, figure in record.metrics.items():
            gauge = gauge_of(metric, gauges)
            if gauge is not None and gauge.higher_is_better is higher and figure.value is not None:
                yield _entry(record, metric, figure, figure.value, gauge)


def _entry(record: Record, metric: str, figure: Measurement, value: float, gauge: Gauge) -> dict[str, Any]:
    told = {"name": f"{name_of(record)} {printable(metric)}", "unit": figure.unit, "value": value}
    if figure.ci is not None:
        told["range"] = f"± {number((figure.ci[1] - figure.ci[0]) / 2, 2)}"
    return told | {"extra": f"{gauge.definition}\ncell {record.cell_id}, {record.spec.site}"}
