"""Every Eval Ever, schema v0.3.0 (https://github.com/evaleval/every_eval_ever): one document for each state of a model.

A compressed model is a model of its own there; its SAEs and metrics are results. Figures of which neither direction is
better are no scores and stay out, as do cells without figures. Times are those of the records, so that the same records
give the same bytes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from ..gate.gauge import Gauge, gauge_of
from ..record import Measurement, Record, canonical_json
from ..store import slug

SCHEMA_VERSION = "0.3.0"
_LIBRARY = "saetransfer"
_UNBOUNDED = ("-Infinity", "Infinity")


def documents(records: Iterable[Record], gauges: Mapping[str, Gauge], organization: str) -> dict[str, str]:
    """Every document as JSON, by the name of its file.

    Args:
        records: those without figures are left out.
        gauges: what is known of metrics.
        organization: whoever ran the evaluation.
    """
    states: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.status == "ok":
            states[record.labels.model, record.labels.compressor].append(record)
    found: dict[str, str] = {}
    for (model, compressor), own in sorted(states.items()):
        name = f"{slug(model)}__{slug(compressor)}__{min(record.cell_id for record in own)}.json"
        content = _document(own, gauges, organization)
        found[name] = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return found


def _document(records: list[Record], gauges: Mapping[str, Gauge], organization: str) -> dict[str, Any]:
    first = records[0]
    newest = max(_seconds(record) for record in records)
    model = f"{first.labels.model}/{first.labels.compressor}"
    versions = sorted({str(record.environment.get("saetransfer", "unknown")) for record in records})
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"{_LIBRARY}/{model}/{newest}",
        "retrieved_timestamp": str(newest),
        "source_metadata": {
            "source_type": "evaluation_run",
            "source_organization_name": organization,
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": _LIBRARY, "version": ", ".join(versions)},
        "model_info": {"name": f"{first.labels.model} ({first.labels.compressor})", "id": model}
        | {"additional_details": _model_details(first)},
        "evaluation_results": [result for record in records for result in _results(record, gauges)],
    }


def _model_details(record: Record) -> dict[str, str]:
    # What is known of single matrices would be most of the document.
    facts = {name: value for name, value in (record.compression or {}).items() if name != "matrices"}
    return {
        "deployment_type": "self_deployed",
        "model_availability": "unknown",
        "model": canonical_json(record.spec.model),
        "compressor": canonical_json(record.spec.compressor),
        **{name: value if isinstance(value, str) else canonical_json(value) for name, value in facts.items()},
    }


def _results(record: Record, gauges: Mapping[str, Gauge]) -> Iterator[dict[str, Any]]:
    for metric, figure in record.metrics.items():
        gauge = gauge_of(metric, gauges)
        if figure.value is not None and gauge is not None and gauge.higher_is_better is not None:
            yield {
                "evaluation_result_id": f"{record.cell_id}.{metric}",
                "evaluation_name": f"{_LIBRARY}.{metric.split('.')[0]}",
                "source_data": _source(record),
                "evaluation_timestamp": str(_seconds(record)),
                "metric_config": _metric(metric, figure, gauge, gauge.higher_is_better),
                "score_details": _score(record, figure, figure.value),
            }


def _source(record: Record) -> dict[str, Any]:
    details = {"data": canonical_json(record.spec.data), "seed": str(record.spec.seed)}
    return {"dataset_name": record.labels.text, "source_type": "other", "additional_details": details}


def _metric(metric: str, figure: Measurement, gauge: Gauge, higher_is_better: bool) -> dict[str, Any]:
    smallest, largest = (
        bound if bound is not None else unbounded
        for bound, unbounded in zip(gauge.valid_range, _UNBOUNDED, strict=True)
    )
    return {
        "metric_id": f"{_LIBRARY}.{metric}",
        "metric_name": metric.split(".")[-1],
        "metric_unit": figure.unit,
        "evaluation_description": gauge.definition,
        "lower_is_better": not higher_is_better,
        "score_type": "continuous",
        "min_score": smallest,
        "max_score": largest,
    }


def _score(record: Record, figure: Measurement, value: float) -> dict[str, Any]:
    details = {
        "sae": record.labels.sae,
        "sae_source": record.labels.sae_source,
        "site": record.spec.site,
        "cell_id": record.cell_id,
    }
    uncertainty: dict[str, Any] = {} if figure.n is None else {"num_samples": figure.n}
    if figure.ci is not None:
        low, high = figure.ci
        uncertainty["confidence_interval"] = {"lower": low, "upper": high, "confidence_level": 0.95}
    return {"score": value, "details": details} | ({"uncertainty": uncertainty} if uncertainty else {})


def _seconds(record: Record) -> int:
    """Seconds since the epoch; the schema asks for them as text."""
    return int(datetime.fromisoformat(record.created_at.replace("Z", "+00:00")).timestamp())
