"""Records as a table for analysis: one row a figure."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from .record import Measurement, Record
from .store import read_all

_TYPES = {
    "model": "string",
    "compressor": "string",
    "sae": "string",
    "sae_source": "string",
    "site": "string",
    "metric": "string",
    "value": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "half_1": "float64",
    "half_2": "float64",
    "n": "Int64",
    "unit": "string",
    "status": "string",
    "cell_id": "string",
}


def load(*folders: str | Path) -> pd.DataFrame:
    """All records below some folders, one row a figure.

    A cell without figures has one row without a metric, so that it is still counted. Files that hold no record are
    warned of and left out.
    """
    found = read_all(folders)
    for problem in found.problems:
        warnings.warn(f"{problem.path}: {problem.message}", stacklevel=2)
    rows = [row for record in found.records for row in _rows(record)]
    return pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)


def _rows(record: Record) -> Iterator[dict[str, Any]]:
    names = {
        "model": record.labels.model,
        "compressor": record.labels.compressor,
        "sae": record.labels.sae,
        "sae_source": record.labels.sae_source,
        "site": record.spec.site,
        "status": record.status,
        "cell_id": record.cell_id,
    }
    if not record.metrics:
        yield names
    for metric, measurement in record.metrics.items():
        yield {**names, "metric": metric, **_figures(measurement)}


def _figures(measurement: Measurement) -> dict[str, Any]:
    low, high = measurement.ci or (None, None)
    half_1, half_2 = measurement.halves or (None, None)
    return {
        "value": measurement.value,
        "ci_low": low,
        "ci_high": high,
        "half_1": half_1,
        "half_2": half_2,
        "n": measurement.n,
        "unit": measurement.unit,
    }
