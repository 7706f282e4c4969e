"""Labelled texts: files, cards and the microworld; splits that share nothing; every mistake with its place."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from saetransfer.registry import labelled
from saetransfer.registry.errors import Impossible, RegistryError

ROWS = [{"text": f"Document {number}.", "label": "even" if number % 2 == 0 else "odd"} for number in range(300)]


def written(folder: Path, name: str, rows: list[dict[str, Any]] = ROWS) -> Path:
    file = folder / name
    if name.endswith(".csv"):
        with file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


@pytest.mark.parametrize("name", ["numbers.jsonl", "numbers.csv"])
def test_a_single_file_is_divided_into_splits_that_share_nothing_and_leave_nothing_out(
    tmp_path: Path, name: str
) -> None:
    written(tmp_path, name)
    found = labelled.resolve(name, tmp_path)
    labelled.check(found)
    splits = found.documents()
    texts = [{document.text for document in splits[split]} for split in ("train", "test")]
    assert texts[0] | texts[1] == {row["text"] for row in ROWS}
    assert not texts[0] & texts[1]
    assert 30 < len(texts[1]) < 100
    assert all(document.labels["label"] == ROWS[int(document.text[9:-1])]["label"] for document in splits["train"])


def test_a_file_that_is_sorted_by_label_gives_both_when_only_some_are_taken(tmp_path: Path) -> None:
    written(tmp_path, "sorted.jsonl", sorted(ROWS, key=lambda row: row["label"]))
    found = labelled.resolve({"path": "sorted.jsonl", "train_examples": 60}, tmp_path)
    counts = Counter(document.labels["label"] for document in found.documents()["train"])
    assert sum(counts.values()) == 60
    assert min(counts.values()) > 15


def test_a_test_document_that_was_trained_on_is_left_out(tmp_path: Path) -> None:
    written(tmp_path, "train.jsonl", ROWS[:200])
    written(tmp_path, "test.jsonl", ROWS[190:])
    found = labelled.resolve({"path": "train.jsonl", "test": "test.jsonl"}, tmp_path).documents()
    assert {document.text for document in found["test"]} == {row["text"] for row in ROWS[200:]}


def test_several_attributes_and_only_some_values(tmp_path: Path) -> None:
    rows = [{"body": f"Row {n}", "job": n % 3, "sex": "fm"[n % 2]} for n in range(90)]
    written(tmp_path, "people.jsonl", rows)
    definition = {
        "path": "people.jsonl",
        "text": "body",
        "labels": {"job": "job", "gender": "sex"},
        "values": {"job": {0: "nurse", 1: "doctor"}},
        "attributes": ["job"],
        "spurious": [["job", "gender"]],
    }
    found = labelled.resolve(definition, tmp_path)
    assert (found.attributes, found.spurious) == (("job",), (("job", "gender"),))
    assert {tuple(document.labels.values()) for document in found.documents()["train"]} == {
        ("nurse", "f"), ("nurse", "m"), ("doctor", "f"), ("doctor", "m")
    }  # fmt: skip


def test_the_microworld_tells_every_attribute_and_its_splits_share_nothing() -> None:
    found = labelled.resolve({"card": "microworld", "train_examples": 50, "test_examples": 40}, Path())
    splits = found.documents()
    assert [len(splits["train"]), len(splits["test"])] == [50, 40]
    assert {"mood", "gender", "coin"} <= set(found.attributes)
    assert set(splits["train"][0].labels) >= set(found.attributes)
    assert ("mood", "gender") in found.spurious


def test_what_a_set_is_does_not_depend_on_its_name_or_place(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = labelled.resolve(str(written(tmp_path, "a.jsonl")), tmp_path)
    second = labelled.resolve({"name": "mine", "path": str(written(tmp_path / "other", "b.jsonl"))}, tmp_path)
    third = labelled.resolve({"path": "a.jsonl", "train_examples": 7}, tmp_path)
    assert first.identity == second.identity
    assert first.identity != third.identity


def test_every_card_is_understood_and_says_how_it_is_divided() -> None:
    for name in labelled.cards():
        found = labelled.resolve(name, Path())
        assert found.attributes
        assert found.identity["hub"]
    with pytest.raises(Impossible, match="loading script"):
        labelled.resolve("github-code", Path()).documents()


def test_a_hub_data_set_is_streamed_until_every_value_has_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def load_dataset(hub: str, config: str | None, **options: Any) -> Any:
        asked.append((hub, config, options["split"]))
        return ({"text": f"{options['split']} {n}", "label": n % 5} for n in range(1000))

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    definition = {"card": "ag-news", "train_examples": 40, "test_examples": 12}
    splits = labelled.resolve(definition, Path()).documents()
    assert Counter(document.labels["topic"] for document in splits["train"]) == dict.fromkeys(
        ["world", "sports", "business", "science"], 10
    )
    assert len(splits["test"]) == 12
    assert asked == [("fancyzhx/ag_news", None, "train"), ("fancyzhx/ag_news", None, "test")]


def test_a_data_set_in_parts_has_the_part_as_its_label(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(_hub: str, config: str, **_options: Any) -> Any:
        first, second = config.split("-")
        return ({"translation": {first: f"{first} {n}", second: f"{second} {n}"}} for n in range(100))

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    found = labelled.resolve({"card": "europarl", "train_examples": 20, "test_examples": 5}, Path())
    splits = found.documents()
    assert Counter(document.labels["language"] for document in splits["train"]) == dict.fromkeys(
        ["en", "fr", "de", "es", "nl"], 4
    )
    assert all(document.text.startswith(document.labels["language"]) for document in splits["test"])


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("ag-new", "Did you mean 'ag-news'"),
        ("missing.jsonl", "there is no file"),
        ({"path": "numbers.parquet"}, "unknown ending '.parquet'"),
        ({"path": "numbers.jsonl", "attributes": ["lable"]}, "Did you mean 'label'"),
        ({"path": "numbers.jsonl", "hub": "a/b"}, "exactly one of"),
        ({"path": "numbers.jsonl", "label": "a", "labels": {"a": "b"}}, "not both"),
        ({"path": "numbers.jsonl", "colour": 1}, "Unknown key 'colour'"),
        ({"path": "numbers.jsonl", "label": "kind"}, "line 1: no column 'kind' (found: text, label)"),
        ({"path": "numbers.jsonl", "text": "label.deep"}, "no column 'label.deep'"),
        ({"path": "broken.jsonl"}, "broken.jsonl, line 2: no JSON"),
        ({"path": "one.jsonl"}, "needs at least 2"),
        ({"path": "nested.jsonl"}, "a label is a text or a number"),
        ({"path": "binary.csv"}, "is not UTF-8"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, definition: Any, message: str) -> None:
    written(tmp_path, "numbers.jsonl")
    (tmp_path / "numbers.parquet").touch()
    (tmp_path / "broken.jsonl").write_text('{"text": "a", "label": "b"}\n{', encoding="utf-8")
    (tmp_path / "binary.csv").write_bytes(b"text,label\n\xff\xfe,1\n")
    written(tmp_path, "one.jsonl", [row for row in ROWS if row["label"] == "odd"])
    written(tmp_path, "nested.jsonl", [{"text": "a", "label": ["b"]}])
    with pytest.raises(RegistryError) as error:
        labelled.check(labelled.resolve(definition, tmp_path))
    assert message in str(error.value)
