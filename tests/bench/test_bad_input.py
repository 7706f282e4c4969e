"""Files that are empty, cut short, of another kind, huge, nested without end, or up to no good: examples of each.

Many of them were found by the fuzzing of `test_fuzz.py`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from saetransfer.bench.errors import UsageError
from saetransfer.bench.planning import plan, suite, yaml_file
from saetransfer.leaderboard import record as record_module
from saetransfer.leaderboard.record import to_json
from saetransfer.registry import foreign
from tests.bench.command import saetransfer
from tests.bench.world import write_suite
from tests.leaderboard.examples import record

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


def refused(world: Path) -> str:
    with pytest.raises(UsageError) as raised:
        plan.make(suite.load(str(world / "suite.yaml")))
    return str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "got nothing"),
        (b"\x89PNG\r\n\x1a\n\x00", "not UTF-8"),
        (b"\xff\xfen\x00", "not UTF-8"),
        (b"name: \x00", "no YAML"),
        (b"- a\n- b", "got list"),
        (b"name: {a: b", "no YAML"),
        (b"name: !!python/object/apply:os.system [touch owned]", "no YAML"),
        (b"name: !!int word", "does not fit its tag"),
        (b"name: !!timestamp word", "does not fit its tag"),
        (b"seed: " + b"9" * 5000, "out of range"),
        (b"name: a\nname: b", "stands twice"),
        (BOMB.encode(), "aliases stand for more than"),
        (b"name: &a [*a]", "nested too deeply, or without end"),
        (b"name: x\ndata: {text: {path: https://me:secret@host/x.txt}}", "suite.yaml:2: a credential stands in"),
    ],
)
def test_suites_that_are_none(world: Path, content: bytes, said: str) -> None:
    (world / "suite.yaml").write_bytes(content)
    message = refused(world)
    assert said in message
    assert "suite.yaml" in message
    assert "secret" not in message
    assert not (world / "owned").exists()


def test_a_huge_suite_is_not_read(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "_LARGEST_BYTES", 10)
    write_suite(world)
    assert "a suite has at most 10" in refused(world)


def test_aliases_that_people_write_are_read() -> None:
    assert yaml_file.parse("a: &x {b: 1}\nc: [*x, *x]") == {"a": {"b": 1}, "c": [{"b": 1}, {"b": 1}]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"saes": [{"name": "s", "source": ["pretrained"], "path": "sae"}]}, "Unknown source"),
        ({"models": [{"name": "to\x1b[31my", "path": "model"}]}, "visible characters"),
        ({"models": [{"name": "to\u202ey", "path": "model"}]}, "visible characters"),
        ({"models": [{"name": "toy", "path": "model", "trust_remote_code": True}]}, "--trust-remote-code"),
        ({"compressors": [{"name": "f", "method": "exits.py:f"}]}, "exits.py"),
        ({"compressors": [{"name": "f", "method": "nul.py:f"}]}, "nul.py"),
        ({"compressors": [{"name": "f", "method": "latin.py:f"}]}, "latin.py"),
        ({"data": {"text": {"path": "/"}}}, "is a folder"),
        ({"data": {"text": "\x00.txt"}}, "null character"),
    ],
)
def test_suites_that_say_what_cannot_be(world: Path, changes: dict[str, Any], said: str) -> None:
    (world / "exits.py").write_text("raise SystemExit(0)", encoding="utf-8")
    (world / "nul.py").write_bytes(b"\x00\x01")
    (world / "latin.py").write_bytes("def f(model, calibration): 'é'".encode("latin-1"))
    write_suite(world, **changes)
    assert said in refused(world)


def rewrite(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("sae/cfg.json", "", "no complete JSON"),
        ("sae/cfg.json", "[]", "holds a list"),
        ("sae/cfg.json", DEEP, "nested too deeply"),
        ("sae/cfg.json", {"d_in": "32"}, "a positive whole number"),
        ("sae/cfg.json", {"k": 4.5}, "a whole number is needed"),
        ("sae/cfg.json", {"metadata": {"hook_name": 3}}, "a text is needed"),
        ("sae/cfg.json", {"reshape_activations": [[0]]}, "a text is needed"),
        ("sae/sae_weights.safetensors", "", "cannot be read"),
        ("sae/sae_weights.safetensors", "\xff" * 8, "cannot be read"),
        ("model/config.json", "{", "no configuration"),
        ("model/config.json", DEEP, "no configuration"),
        ("model/config.json", {"model_type": ["llama"]}, "no configuration"),
        ("model/config.json", {"hidden_size": 10**12}, "hidden_size"),
        ("model/config.json", {"num_hidden_layers": -1}, "num_hidden_layers"),
        ("model/model.safetensors", "no tensors", "no whole safetensors file"),
        ("model/model.safetensors.index.json", "{}", "weight_map"),
        ("stories.txt", "", "no documents"),
    ],
)
def test_damaged_models_saes_and_texts(world: Path, file: str, content: str | dict[str, Any], said: str) -> None:
    own = world / Path(file).parts[0]
    original = own.resolve()
    own.unlink()
    shutil.copytree(original, own) if original.is_dir() else shutil.copy(original, own)
    if isinstance(content, dict):
        rewrite(world / file, lambda found: found.update(content))
    else:
        (world / file).write_text(content, encoding="latin-1")
    write_suite(world)
    assert said in refused(world)


def test_a_library_may_raise_what_it_likes() -> None:
    with (
        pytest.raises(foreign.RegistryError, match="It does not load: what"),
        foreign.read_by_library("It does not load"),
    ):
        raise Exception("what\nadvice")  # as tokenizers does


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda found: found["compression"].pop("sparsity"), 0),
        (lambda found: found.update(compression={"bytes": [], "sparsity": "half"}), 0),
        (lambda found: found.update(schema_version=record_module.SCHEMA_VERSION + 1), 2),
        (lambda found: found.update(labels=None), 2),
    ],
)
def test_records_of_others_are_shown_or_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], code: int
) -> None:
    file = tmp_path / "record.json"
    file.write_text(to_json(record("wanda", gap=0.1)), encoding="utf-8")
    rewrite(file, change)
    shown = saetransfer(tmp_path, "show", str(file))
    assert shown.returncode == code
    assert "Traceback" not in shown.stdout + shown.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "."), "cannot be read"),
        (("show", "no.json"), "cannot be read"),
        (("leaderboard", "runs", "--out", "file/board.md"), "file"),
        (("run", "file"), "key"),
    ],
)
def test_files_that_are_not_there_or_cannot_be_written(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    (tmp_path / "runs" / "cells").mkdir(parents=True)
    (tmp_path / "runs" / "cells" / "a.json").write_text(to_json(record()), encoding="utf-8")
    (tmp_path / "file").write_text(yaml.safe_dump({}), encoding="utf-8")
    run = saetransfer(tmp_path, *arguments)
    assert run.returncode == 2
    assert said in run.stderr
