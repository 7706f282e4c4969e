"""The cache: what is damaged is made anew, and of many processes one makes what all of them want."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saetransfer.bench.running.artifacts import KEY_FILE, Artifacts
from saetransfer.registry.files import SEAL
from tests.bench.driving import fork

KEY: dict[str, Any] = {"kind": "sae", "what": "one"}


def put(cache: Path) -> Path:
    with Artifacts(cache).create(KEY) as folder:
        (folder / "weights").write_bytes(b"0123456789")
    return Artifacts(cache).folder(KEY)


def cut_short(folder: Path) -> None:
    (folder / "weights").write_bytes(b"01234")


def exchange(folder: Path) -> None:
    (folder / "weights").write_bytes(b"9876543210")


def take_out(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def another_key(folder: Path) -> None:
    (folder / KEY_FILE).write_text('{"kind":"sae","what":"other"}', encoding="utf-8")


def cut_list(folder: Path) -> None:
    (folder / SEAL).write_text('{"weights":', encoding="utf-8")


DAMAGES = [cut_short, exchange, take_out("weights"), take_out(KEY_FILE), take_out(SEAL), another_key, cut_list]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_artifact_counts_as_not_there_and_is_replaced(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = put(tmp_path)
    assert Artifacts(tmp_path).find(KEY) == folder
    damage(folder)
    assert Artifacts(tmp_path).find(KEY) is None
    put(tmp_path)
    assert Artifacts(tmp_path).find(KEY) == folder
    assert (folder / "weights").read_bytes() == b"0123456789"


def test_a_whole_artifact_is_not_replaced(tmp_path: Path) -> None:
    inode = (put(tmp_path) / "weights").stat().st_ino
    assert (put(tmp_path) / "weights").stat().st_ino == inode


def make_once(cache: Path) -> None:
    """What each of several processes does that wants two artifacts, in either order."""
    keys = [{**KEY, "what": name} for name in ("one", "other")][:: 1 if os.getpid() % 2 else -1]
    kept = Artifacts(cache)
    with kept.making(keys):
        for key in keys:
            if kept.find(key) is None:
                with kept.create(key) as folder:
                    time.sleep(0.05)
                    (folder / "weights").write_bytes(b"0123456789")
                with (cache / "made").open("a", encoding="utf-8") as told:
                    told.write(f"{key['what']}\n")


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_of_eight_processes_one_makes_what_all_of_them_want(tmp_path: Path) -> None:
    for process in [fork(make_once, tmp_path) for _ in range(8)]:
        process.join(60)
        assert process.exitcode == 0
    assert sorted((tmp_path / "made").read_text(encoding="utf-8").split()) == ["one", "other"]
