"""A record is strict: what cannot be read the same way everywhere is no record."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from saetransfer.leaderboard.errors import RecordError
from saetransfer.leaderboard.record import Failure, Labels, Spec, cell_id_of, parse, to_json
from tests.leaderboard.examples import grid, record, spec

FAILURE = Failure(phase="load", type="OSError", message="no such file")


def test_what_is_written_is_read_back() -> None:
    for original in grid():
        text = to_json(original)
        assert parse(text) == parse(text.encode()) == original
        assert text.endswith("}\n")
        assert to_json(parse(text)) == text


def test_keys_stand_in_declared_order_and_text_as_it_is() -> None:
    text = to_json(
        record(labels=Labels(suite="démo", model="m", compressor="c", sae="s", sae_source="random", text="t"))
    )
    assert "démo" in text
    assert list(json.loads(text))[:3] == ["schema_version", "cell_id", "status"]


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_no_number_is_infinite_or_undefined(token: str) -> None:
    text = to_json(record()).replace("16384", token)
    with pytest.raises(RecordError, match="not strict JSON"):
        parse(text)


def test_no_figure_is_written_that_could_not_be_read() -> None:
    with pytest.raises(ValidationError):
        record(gap=float("nan"))
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json(record(environment={"threads": float("inf")}))
    with pytest.raises(ValueError, match="JSON compliant"):
        cell_id_of(spec(data={"tokens": float("nan")}))


def test_a_newer_schema_is_refused_with_the_remedy() -> None:
    with pytest.raises(RecordError, match=r"schema_version is 2, newer than 1.*upgrade saetransfer"):
        parse(_changed(schema_version=2))


@pytest.mark.parametrize("version", [None, "1", 0, True, 1.0])
def test_a_version_is_a_whole_number(version: Any) -> None:
    with pytest.raises(RecordError, match="schema_version"):
        parse(_changed(schema_version=version))


@pytest.mark.parametrize("text", ["[]", "null", '"record"', "3"])
def test_a_record_is_an_object(text: str) -> None:
    with pytest.raises(RecordError, match="expected a JSON object, found"):
        parse(text)


def test_every_truncation_is_refused() -> None:
    text = to_json(record()).rstrip()
    for length in range(0, len(text), 37):
        with pytest.raises(RecordError):
            parse(text[:length])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b"[" * 100_000, "not strict JSON|not JSON"),
        (b'{"a": "\\ud800"}', "not strict JSON"),
    ],
)
def test_other_oddities_are_refused_by_name(content: bytes, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        parse(content)


def test_mistakes_are_named_where_they_are() -> None:
    with pytest.raises(RecordError, match=r"labels\.suite.*Field required"):
        parse(_changed(labels={"model": "m", "compressor": "c", "sae": "s", "sae_source": "random"}))


def test_reading_tolerates_a_later_key_and_building_does_not() -> None:
    text = _changed(carbon_grams=3)
    assert parse(text) == record()
    with pytest.raises(ValidationError):
        record(carbon_grams=3)


def test_an_error_goes_with_every_status_but_ok() -> None:
    assert record(error=FAILURE, status="skipped").status == "skipped"
    with pytest.raises(ValidationError, match="beside an error"):
        record(error=FAILURE, status="ok")
    for status in ("failed", "skipped"):
        with pytest.raises(ValidationError, match="without an error"):
            record(status=status)


def test_the_id_does_not_depend_on_the_order_of_keys() -> None:
    content = spec("wanda-50").model_dump(mode="json")
    assert cell_id_of(_reversed(content)) == cell_id_of(content) == cell_id_of(spec("wanda-50"))


def test_the_id_changes_with_every_value() -> None:
    content = spec("wanda-50", calibration={"text": "microworld", "tokens": 512}).model_dump(mode="json")
    variants = list(_variants(content))
    ids = {cell_id_of(variant) for variant in variants}
    assert len(variants) > 15
    assert len(ids) == len(variants)
    assert cell_id_of(content) not in ids


def test_the_id_is_the_same_from_the_file() -> None:
    original = record("wanda-50")
    assert cell_id_of(parse(to_json(original)).spec) == original.cell_id


def test_a_spec_with_an_undeclared_part_has_no_id() -> None:
    with pytest.raises(ValidationError):
        cell_id_of({**spec().model_dump(mode="json"), "temperature": 1.0})


def _changed(**changes: Any) -> str:
    return json.dumps({**json.loads(to_json(record())), **changes})


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return value


def _variants(value: Any) -> Any:
    """Every version of a JSON value in which one leaf is different."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from ({**value, key: changed} for changed in _variants(item))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from ([*value[:index], changed, *value[index + 1 :]] for changed in _variants(item))
    elif isinstance(value, str):
        yield value + "x"
    else:
        yield value + 1


def test_the_documented_id_is_kept() -> None:
    """Ids name files that people publish: a change of the rule must be a decision, not an accident."""
    plain = Spec(model={"a": 1}, compressor=[], sae={"é": [1.5, None]}, site="s", data={}, tasks={}, seed=0)
    assert cell_id_of(plain) == "ab96a036ad569bdd"
