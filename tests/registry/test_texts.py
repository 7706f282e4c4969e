"""Texts: every format, every mistake, and roles that never share a document."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from saetransfer.registry import texts
from saetransfer.registry.errors import RegistryError

DOCUMENTS = [f"Document {number} says {number * 7}." for number in range(200)]


def written(folder: Path, name: str) -> Path:
    file = folder / name
    if name.endswith(".txt"):
        file.write_text("\n\n".join(DOCUMENTS), encoding="utf-8")
    elif name.endswith(".jsonl"):
        file.write_text("\n".join(json.dumps({"text": document}) for document in DOCUMENTS), encoding="utf-8")
    else:
        parquet.write_table(pa.table({"text": DOCUMENTS}), file)
    return file


@pytest.mark.parametrize("name", ["stories.txt", "stories.jsonl", "stories.parquet"])
def test_every_format_gives_its_documents(tmp_path: Path, name: str) -> None:
    written(tmp_path, name)
    text = texts.resolve(name, tmp_path, divided=False)
    assert list(text.documents("evaluation")) == DOCUMENTS


def test_roles_of_a_divided_text_share_nothing_and_leave_nothing_out(tmp_path: Path) -> None:
    text = texts.resolve(str(written(tmp_path, "stories.txt")), tmp_path, divided=True)
    parts = [list(text.documents(role)) for role in ("evaluation", "calibration", "training")]
    assert sorted(sum(parts, [])) == sorted(DOCUMENTS)
    assert all(len(part) > len(DOCUMENTS) / 16 for part in parts)


def test_copies_of_a_document_fall_into_one_role(tmp_path: Path) -> None:
    file = tmp_path / "copies.txt"
    file.write_text("\n\n".join(DOCUMENTS * 2), encoding="utf-8")
    text = texts.resolve("copies.txt", tmp_path, divided=True)
    evaluation, training = (set(text.documents(role)) for role in ("evaluation", "training"))
    assert not evaluation & training


def test_the_microworld_never_ends_and_its_roles_share_nothing() -> None:
    text = texts.resolve("microworld", Path(), divided=True)
    parts = [set(islice(text.documents(role), 300)) for role in ("evaluation", "calibration", "training")]
    assert [len(part) for part in parts] == [300, 300, 300]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]


def test_what_a_text_is_does_not_depend_on_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    here = written(tmp_path, "a.txt")
    there = written(tmp_path / "other", "b.txt")
    identities = [texts.resolve(str(file), tmp_path, divided=True).identity("evaluation") for file in (here, there)]
    assert identities[0] == identities[1]
    there.write_text("something else", encoding="utf-8")
    assert texts.resolve(str(there), tmp_path, divided=True).identity("evaluation") != identities[0]


def test_the_mark_of_endings_divides_stories(tmp_path: Path) -> None:
    (tmp_path / "marked.txt").write_text("one\n\nstill one<|endoftext|>two", encoding="utf-8")
    text = texts.resolve("marked.txt", tmp_path, divided=False)
    assert list(text.documents("evaluation")) == ["one\n\nstill one", "two"]


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ("wikitext3", "Did you mean 'wikitext2'?"),
        ("missing.txt", "there is no file of that name"),
        ({"path": "stories.csv"}, "there is no file of that name"),
        ({"path": "text.doc"}, "unknown ending '.doc'. Allowed: .txt, .jsonl, .parquet"),
        ({"pth": "stories.txt"}, "Did you mean 'path'?"),
        ({"path": "stories.txt", "hub": "a/b"}, "exactly one of 'path'"),
        ({"path": "stories.txt", "documents": "file"}, "cannot be divided"),
    ],
)
def test_every_mistake_is_answered(tmp_path: Path, definition: str | dict[str, str], said: str) -> None:
    written(tmp_path, "stories.txt")
    (tmp_path / "text.doc").write_text("x", encoding="utf-8")
    with pytest.raises(RegistryError) as raised:
        texts.resolve(definition, tmp_path, divided=True)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"text": "one"}\n{"text": 3}', "line 2: field 'text' holds int, not text"),
        ("a.jsonl", b'{"txt": "one"}', "found: txt"),
        ("a.jsonl", b'{"text": "one"', "line 1: no JSON"),
        ("a.jsonl", b'{"text": "\xff\xfe"}', "not UTF-8"),
        ("a.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("a.parquet", b"PAR1 or not", "no readable Parquet file"),
    ],
)
def test_a_broken_file_is_named_with_the_place(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RegistryError) as raised:
        list(texts.resolve(name, tmp_path, divided=False).documents("evaluation"))
    assert said in str(raised.value)


def test_a_document_that_two_texts_share_is_found_whatever_their_formats(tmp_path: Path) -> None:
    whole = texts.resolve(str(written(tmp_path, "stories.txt")), tmp_path, divided=False)
    (tmp_path / "other.jsonl").write_text(
        "\n".join(json.dumps({"text": text}) for text in ("A new one.", DOCUMENTS[7])), encoding="utf-8"
    )
    other = texts.resolve("other.jsonl", tmp_path, divided=False)
    assert texts.shared_document(whole, "evaluation", other, "calibration") == DOCUMENTS[7]
    (tmp_path / "new.jsonl").write_text(json.dumps({"text": "A new one."}), encoding="utf-8")
    new = texts.resolve("new.jsonl", tmp_path, divided=False)
    assert texts.shared_document(whole, "evaluation", new, "calibration") is None
    divided = texts.resolve(str(tmp_path / "stories.txt"), tmp_path, divided=True)
    assert texts.shared_document(divided, "evaluation", divided, "calibration") is None
