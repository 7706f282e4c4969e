"""`saetransfer artifacts`: what the cache holds, and clearing it beside processes that are at work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from saetransfer.bench.commands import stored
from saetransfer.bench.running import artifacts
from saetransfer.bench.running.artifacts import Artifacts
from tests.bench.command import saetransfer

DAY_SECONDS = 86_400
PRUNED = {
    "kind": "sae",
    "model": {"weights": "f7e3d9f8a4603104", "dtype": "float32"},
    "compressor": {"steps": [{"method": "rtn", "params": {"bits": 4, "scope": "row", "symmetric": True}}]},
    "sae": {
        "source": "pruned",
        "architecture": "topk",
        "site": "blocks.1.hook_resid_post",
        "d_sae": 48,
        "params": {"method": "wanda", "sparsity": 0.5, "tokens": 512},
    },
}
TRAINED = {
    "kind": "sae",
    "model": {"hub": "owner/toy", "revision": "0"},
    "compressor": {"steps": []},
    "sae": {
        "source": "trained",
        "architecture": "jumprelu",
        "site": "blocks.0.hook_mlp_out",
        "d_sae": 64,
        "params": {"tokens": 2000},
    },
}


def put(cache: Path, key: dict[str, Any], days_old: float = 0, size: int = 1000) -> Path:
    with Artifacts(cache).create(key) as folder:
        (folder / "content").write_bytes(bytes(size))
    made = Artifacts(cache).folder(key)
    then = (made / "content").stat().st_mtime - days_old * DAY_SECONDS
    for path in (*made.iterdir(), made):
        os.utime(path, (then, then))
    return made


def put_checkpoint(cache: Path) -> Path:
    folder = cache / artifacts.CHECKPOINTS / ("0a" * 16)
    (folder / "at-100").mkdir(parents=True)
    (folder / "at-100" / "weights").write_bytes(bytes(10))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def neighbour(cache: Path) -> Iterator[Path]:
    """What another process, which lives, is writing into the cache."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    folder = cache / artifacts.UNFINISHED / str(process.pid) / "half"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(bytes(10))
    yield folder
    process.communicate()


def line(output: str, start: str) -> str:
    (found,) = (one for one in output.splitlines() if one.startswith(start))
    return " ".join(found.split())


def test_an_empty_or_missing_cache_is_said_so_and_not_made(tmp_path: Path, cache: Path) -> None:
    for arguments in (("artifacts",), ("artifacts", "clear")):
        run = saetransfer(tmp_path, *arguments)
        assert run.returncode == 0
        assert str(cache) in run.stdout
    assert "The cache is empty" in saetransfer(tmp_path, "artifacts").stdout
    assert not cache.exists()


def test_kinds_are_counted_and_saes_are_told_by_what_made_them(tmp_path: Path, cache: Path) -> None:
    put(cache, TRAINED, days_old=3)
    put(cache, PRUNED)
    put(cache, {"kind": "reading", "array": "hidden"}, size=2_000_000)
    put_checkpoint(cache)
    shown = saetransfer(tmp_path, "artifacts").stdout
    assert saetransfer(tmp_path, "artifacts", "--older-than", "2").stdout.count("trained (") == 1
    assert "pruned (" not in saetransfer(tmp_path, "artifacts", "--older-than", "2").stdout
    assert line(shown, "sae ").startswith("sae 2 ")
    assert line(shown, "reading ").startswith("reading 1 2.0 MB")
    assert line(shown, "checkpoints ").startswith("checkpoints 1 10 bytes")
    assert "fit" not in shown.split("SAE ")[0].replace("fitted", "")
    words = line(shown, "pruned (wanda 0.5)")
    assert "topk blocks.1.hook_resid_post rtn bits=4 weights f7e3d9f8 48 1." in words
    assert words.endswith("0 min")
    words = line(shown, "trained (2,000 tokens)")
    assert "jumprelu blocks.0.hook_mlp_out dense owner/toy 64 1." in words
    assert words.endswith("3 d")


def test_an_sae_whose_key_is_damaged_is_listed_all_the_same(tmp_path: Path, cache: Path) -> None:
    (put(cache, TRAINED) / "key.json").write_text('{"kind": ', encoding="utf-8")
    run = saetransfer(tmp_path, "artifacts")
    assert run.returncode == 0
    assert line(run.stdout, "?")


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ((), set()),
        (("--kind", "all"), set()),
        (("--kind", "sae"), {"reading", "checkpoints"}),
        (("--kind", "checkpoints"), {"sae", "reading"}),
        (("--older-than", "2"), {"sae", "checkpoints"}),
        (("--older-than", "9"), {"sae", "reading", "checkpoints"}),
    ],
)
def test_only_what_was_asked_for_is_cleared(
    tmp_path: Path, cache: Path, arguments: tuple[str, ...], left: set[str]
) -> None:
    put(cache, TRAINED)
    put(cache, {"kind": "reading"}, days_old=3, size=5_000)
    put_checkpoint(cache)
    run = saetransfer(tmp_path, "artifacts", "clear", "--yes", *arguments)
    assert run.returncode == 0, run.stderr
    assert {one.kind for one in stored.stored(cache, stored.KINDS)} == left
    assert ("Freed " in run.stdout) == (len(left) < 3)
    assert ("1 reading" in run.stdout) == ("reading" not in left)


def test_what_is_not_the_caches_own_is_never_touched(tmp_path: Path, cache: Path) -> None:
    for name in ("sae/mine", "photos/" + "0a" * 16):
        (cache / name).mkdir(parents=True)
    assert saetransfer(tmp_path, "artifacts", "clear", "--yes").returncode == 0
    assert (cache / "sae" / "mine").is_dir()
    assert (cache / "photos" / ("0a" * 16)).is_dir()


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path, cache: Path, neighbour: Path) -> None:
    put(cache, TRAINED)
    checkpoint = put_checkpoint(cache)
    gone = cache / artifacts.UNFINISHED / "999999999"
    gone.mkdir()
    run = saetransfer(tmp_path, "artifacts", "clear", "--yes")
    assert run.returncode == 0
    assert (neighbour / "file").is_file()
    assert (checkpoint / "at-100" / "weights").is_file()
    assert not gone.exists()
    assert "Left alone: 1 checkpoints" in run.stdout
    assert "Freed 1 sae" in run.stdout


def test_an_artifact_is_gone_at_once_even_if_its_removal_is_interrupted(cache: Path) -> None:
    made = put(cache, TRAINED)

    def die(_: Path, **options: object) -> None:
        assert Artifacts(cache).find(TRAINED) is None
        raise KeyboardInterrupt

    with mock.patch.object(stored.shutil, "rmtree", die), pytest.raises(KeyboardInterrupt):
        stored.remove(cache, stored.stored(cache))
    assert not made.exists()


def test_nothing_is_deleted_that_nobody_confirmed(tmp_path: Path, cache: Path) -> None:
    put(cache, TRAINED)
    with mock.patch.object(sys, "stdin") as stdin:
        stdin.isatty.return_value = False
        run = saetransfer(tmp_path, "artifacts", "clear")
        assert run.returncode == 2
        assert "--yes" in run.stderr
        stdin.isatty.return_value = True
        with mock.patch("saetransfer.bench.commands.artifact_commands.typer.confirm", return_value=False) as asked:
            assert "Nothing was deleted" in saetransfer(tmp_path, "artifacts", "clear").stdout
        assert "1 sae" in asked.call_args.args[0]
        assert Artifacts(cache).find(TRAINED) is not None
        with mock.patch("saetransfer.bench.commands.artifact_commands.typer.confirm", return_value=True):
            assert "Freed 1 sae" in saetransfer(tmp_path, "artifacts", "clear").stdout
    assert Artifacts(cache).find(TRAINED) is None
