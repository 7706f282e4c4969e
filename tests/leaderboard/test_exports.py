"""Exports: each form holds what its reader asks for, the same bytes from the same records."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from saetransfer.leaderboard.exports import action_benchmark, every_eval_ever, latex
from saetransfer.leaderboard.gate.gauge import Gauge
from tests.leaderboard.examples import DEFINITIONS, grid, record

GAUGES = {
    name: Gauge(known.unit, known.higher_is_better, definition=known.text, valid_range=(None, 1.0))
    for name, known in DEFINITIONS.items()
}
NASTY = r"<script>alert(1)</script>|&%$#_{}~^\ 雪"
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
BOUND = {"anyOf": [{"type": "number"}, {"enum": ["Infinity", "-Infinity"]}]}
WHAT_THE_SCHEMA_ASKS_FOR = {
    "type": "object",
    "additionalProperties": False,
    "required": ["evaluation_id", "eval_library", "evaluation_results", "model_info", "source_metadata"],
    "properties": {
        "schema_version": {"const": "0.3.0"},
        "evaluation_id": {"type": "string", "pattern": r"^saetransfer/.+/\d+$"},
        "retrieved_timestamp": {"type": "string", "pattern": r"^\d+$"},
        "source_metadata": {
            "required": ["source_type", "source_organization_name", "evaluator_relationship"],
            "properties": {
                "source_type": {"const": "evaluation_run"},
                "evaluator_relationship": {"enum": ["first_party", "third_party", "collaborative", "other"]},
            },
        },
        "eval_library": {"required": ["name", "version"]},
        "model_info": {
            "required": ["name", "id", "additional_details"],
            "properties": {
                "additional_details": {**TEXTS, "required": ["deployment_type", "model_availability"]},
            },
        },
        "evaluation_results": {
            "type": "array",
            "minItems": 1,
            "items": {
                "required": ["evaluation_name", "source_data", "metric_config", "score_details"],
                "properties": {
                    "source_data": {"required": ["dataset_name", "source_type"]},
                    "metric_config": {
                        "required": ["lower_is_better", "min_score", "max_score"],
                        "properties": {"min_score": BOUND, "max_score": BOUND, "lower_is_better": {"type": "boolean"}},
                    },
                    "score_details": {
                        "required": ["score"],
                        "properties": {"score": {"type": "number"}, "details": TEXTS},
                    },
                },
            },
        },
    },
}


def evaluations() -> dict[str, Any]:
    texts = every_eval_ever.documents(grid(), GAUGES, "somebody")
    return {name: json.loads(text) for name, text in texts.items()}


def test_every_eval_ever_holds_what_its_schema_asks_for() -> None:
    found = evaluations()
    assert len(found) == 3
    for content in found.values():
        jsonschema.validate(content, WHAT_THE_SCHEMA_ASKS_FOR)


@pytest.mark.skipif(find_spec("every_eval_ever") is None, reason="every-eval-ever (Python 3.12 or newer) is not there")
def test_every_eval_ever_holds_to_the_schema_that_is_shipped() -> None:
    package = find_spec("every_eval_ever")
    assert package is not None
    assert package.submodule_search_locations is not None
    schema = Path(package.submodule_search_locations[0]) / "schemas" / "eval.schema.json"
    for content in evaluations().values():
        jsonschema.validate(content, json.loads(schema.read_text(encoding="utf-8")))


def test_scores_keep_direction_interval_and_cell() -> None:
    content = next(content for name, content in evaluations().items() if "wanda-50" in name)
    results = {result["metric_config"]["metric_id"]: result for result in content["evaluation_results"]}
    gap = results["saetransfer.perplexity.transfer_gap"]
    assert gap["score_details"]["score"] == 0.0312
    assert gap["metric_config"]["lower_is_better"] is True
    assert (gap["metric_config"]["min_score"], gap["metric_config"]["max_score"]) == ("-Infinity", 1.0)
    assert gap["score_details"]["uncertainty"]["confidence_interval"]["lower"] == pytest.approx(0.0272)
    assert gap["score_details"]["details"]["sae"] == "frozen"
    assert "saetransfer.reconstruction.l0" not in results


def test_action_benchmark_has_a_file_for_each_direction() -> None:
    found = {name: json.loads(text) for name, text in action_benchmark.documents(grid(), GAUGES).items()}
    smaller, bigger = found["smaller-is-better.json"], found["bigger-is-better.json"]
    names = {entry["name"] for entry in smaller}
    assert "microworld/wanda-50/frozen perplexity.transfer_gap" in names
    assert any("explained_variance" in entry["name"] for entry in bigger)
    assert not any("l0" in entry["name"] for entry in [*smaller, *bigger])
    for entry in [*smaller, *bigger]:
        assert set(entry) <= {"name", "unit", "value", "range", "extra"}
        assert isinstance(entry["value"], float)


def test_latex_is_a_balanced_table_of_all_measured_cells() -> None:
    text = latex.render(grid(), DEFINITIONS)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(rows) == 5
    assert len({row.replace(r"\&", "").count("&") for row in rows}) == 1
    assert r"$\pm$" in text
    assert [line.split(" & ")[2] for line in rows[1:]] == ["dense", "rtn-int5", "wanda-50", "dense"]


def test_names_are_escaped_for_latex() -> None:
    text = latex.render([record(NASTY)], DEFINITIONS)
    row = next(line for line in text.splitlines() if "script" in line)
    shown = row.split(" & ")[2]
    for letter in "&%$#_":
        assert shown.count(letter) == shown.count(f"\\{letter}")
    assert r"\textless{}script\textgreater{}" in shown
    assert r"\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}" in shown


def test_the_order_of_records_does_not_count() -> None:
    assert latex.render(grid(), DEFINITIONS) == latex.render(grid()[::-1], DEFINITIONS)


def test_no_name_escapes_the_folder() -> None:
    names = every_eval_ever.documents([record("../../etc/passwd")], GAUGES, "x")
    assert all("/" not in name and not name.startswith(".") for name in names)
