"""Records on disk: whole or absent, inside their folder, and never lost to one bad neighbour."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import pytest

from saetransfer.leaderboard import store
from saetransfer.leaderboard.errors import RecordError
from saetransfer.leaderboard.record import Labels, to_json
from tests.leaderboard.examples import grid, record, spec

HOSTILE = ["../../etc/passwd", "a__b", "..", "", "/", "x" * 500, "nul\0", "a b\n", "été", "c:\\d", "__", "."]


def test_what_is_written_is_found_again(tmp_path: Path) -> None:
    paths = [store.write(one, tmp_path) for one in grid()]
    assert len(set(paths)) == len(paths)
    assert all(store.read(path) == one for path, one in zip(paths, grid(), strict=True))
    found = store.read_all([tmp_path])
    assert not found.problems
    assert sorted(one.cell_id for one in found.records) == sorted(one.cell_id for one in grid())


def test_a_file_is_named_after_its_cell(tmp_path: Path) -> None:
    one = record("wanda-50")
    assert store.write(one, tmp_path) == tmp_path / "cells" / f"microworld__wanda-50__frozen__{one.cell_id}.json"


def test_a_table_of_latents_stands_beside_its_record_and_is_none(tmp_path: Path) -> None:
    one = record("wanda-50")
    path = store.write_table(one, {"latent": np.arange(3), "r": np.array([1.0, 0.5, np.nan])}, tmp_path)
    assert path == tmp_path / "features" / f"microworld__wanda-50__frozen__{one.cell_id}.parquet"
    assert pandas.read_parquet(path)["r"][1] == 0.5
    assert list(path.parent.iterdir()) == [path]
    assert store.read_all([tmp_path]) == store.Records((), ())


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    labels = Labels(suite="s", model=name, compressor=name, sae=name, sae_source="random", text="t")
    path = store.cell_path(tmp_path, labels, name)
    assert path.resolve().parent == (tmp_path / "cells").resolve()
    assert not path.name.startswith(".")
    assert path.name.count("__") == 3
    assert len(path.name) < 200
    assert store.read(store.write(record(labels=labels), tmp_path)).labels == labels


def test_names_that_look_alike_in_a_file_name_do_not_collide(tmp_path: Path) -> None:
    for seed, name in enumerate(["a__b", "a_b", "a b", "a/b"]):
        its_spec = spec(seed=seed)
        labels = Labels(suite="s", model=name, compressor="dense", sae="s", sae_source="trained", text="t")
        store.write(record(spec=its_spec, labels=labels), tmp_path)
    assert len(store.read_all([tmp_path]).records) == 4


def test_the_order_is_that_of_the_names_wherever_the_files_lie(tmp_path: Path) -> None:
    for folder, one in zip("cab", grid(), strict=False):
        store.write(one, tmp_path / folder)
    one_way = store.read_all([tmp_path / "a", tmp_path / "b", tmp_path / "c"])
    assert one_way.records == store.read_all([tmp_path / "c", tmp_path / "b", tmp_path / "a"]).records
    assert one_way.records == store.read_all([tmp_path]).records == store.read_all([tmp_path, tmp_path]).records
    assert store.read_all([tmp_path / "a" / "cells"]).records == store.read_all([tmp_path / "a"]).records


def test_the_newest_record_of_a_cell_counts(tmp_path: Path) -> None:
    times = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:01.5+00:00", "2026-01-01T00:00:01Z"]
    for index, created_at in enumerate(times):
        store.write(record(created_at=created_at), tmp_path / str(index))
    (only,) = store.read_all([tmp_path]).records
    assert only.created_at == times[1]


def test_one_bad_file_is_reported_and_stops_nothing(tmp_path: Path) -> None:
    whole = store.write(record(), tmp_path)
    text = to_json(record("wanda-50"))
    bad = {
        "cut.json": text[: len(text) // 2].encode(),
        "empty.json": b"",
        "latin.json": b"\xe9",
        "nan.json": text.replace("16384", "NaN").encode(),
        "newer.json": text.replace('"schema_version": 1', '"schema_version": 7').encode(),
    }
    for name, content in bad.items():
        (whole.parent / name).write_bytes(content)
    (whole.parent / "folder.json").mkdir()
    found = store.read_all([tmp_path])
    assert found.records == (record(),)
    assert sorted(problem.path.name for problem in found.problems) == sorted([*bad, "folder.json"])
    assert all(problem.message and str(tmp_path) not in problem.message for problem in found.problems)


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="absent.json: cannot be read"):
        store.read(tmp_path / "absent.json")
    with pytest.raises(RecordError, match="nowhere: no such folder"):
        store.read_all([tmp_path / "nowhere"])


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.write(record(), tmp_path)
    assert list((tmp_path / "cells").iterdir()) == []


def test_a_record_is_as_readable_to_others_as_any_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    assert store.write(record(), tmp_path).stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_only_old_temporaries_are_removed(tmp_path: Path) -> None:
    place = store.write(record(), tmp_path)
    old, fresh = (place.with_name(f".{place.name}.{name}.tmp") for name in ("1-old", "2-fresh"))
    for temporary in (old, fresh):
        temporary.write_text("{")
    os.utime(old, (0, 0))
    assert store.read_all([tmp_path]).records == (record(),)
    assert store.remove_stale_temporaries(tmp_path) == [old]
    assert sorted(place.parent.iterdir()) == sorted([place, fresh])
    assert store.remove_stale_temporaries(tmp_path / "absent") == []


WRITER = """
import itertools, sys
from saetransfer.leaderboard import store
from tests.leaderboard.examples import record
for number in itertools.count():
    store.write(record(environment={"number": number, "ballast": "x" * 200_000}), sys.argv[1])
    if number == 0:
        print("ready", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_reader_never_sees_half_a_record_of_a_writer_that_is_killed(tmp_path: Path) -> None:
    generator = random.Random(0)
    root = Path(__file__).resolve().parents[2]
    seen = set()
    for _ in range(4):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=environment) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            end = time.monotonic() + generator.uniform(0.05, 0.3)
            while time.monotonic() < end:
                found = store.read_all([tmp_path])
                assert len(found.records) == 1
                assert not found.problems
                seen.add(found.records[0].environment["number"])
            writer.send_signal(signal.SIGKILL)
        found = store.read_all([tmp_path])
        assert len(found.records) == 1
        assert not found.problems
    assert len(seen) > 4
