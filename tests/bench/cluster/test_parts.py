"""What needs no cluster: demands, parcels, and the files of a suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from saetransfer.bench.planning import suite
from saetransfer.bench.running.cluster.demands import Demand
from saetransfer.bench.running.cluster.parcels import packed, unpack
from saetransfer.bench.running.cluster.suite_files import files_of
from tests.bench.world import write_suite

SMALL, LARGE = {"CPU": 2.0, "memory": 4e9}, {"CPU": 8.0, "GPU": 1.0, "memory": 64e9}


@pytest.mark.parametrize(
    ("demand", "places"),
    [(Demand(1, 0, 0), 8), (Demand(3, 0, 0), 2), (Demand(1, 0, 30 * 10**9), 2), (Demand(1, 1, 0), 1)],
)
def test_the_scarcest_resource_says_how_many_fit(demand: Demand, places: int) -> None:
    assert demand.places(LARGE) == places


def test_a_demand_that_no_node_meets_is_told_with_what_there_is() -> None:
    assert Demand(1, 1, 0).shortage([SMALL, LARGE]) is None
    said = Demand(1, 1, 0).shortage([SMALL])
    assert said == "It needs a node with 1 CPU, 1 GPU; the cluster has 2 CPUs, 3.7 GiB of memory."


def test_a_parcel_is_the_folder_again(tmp_path: Path) -> None:
    (tmp_path / "a" / "below").mkdir(parents=True)
    (tmp_path / "a" / "empty").touch()
    (tmp_path / "a" / "below" / "some").write_bytes(bytes(range(256)))
    unpack(packed(tmp_path / "a", ["empty", "below/some"]), tmp_path / "b")
    assert (tmp_path / "b" / "empty").read_bytes() == b""
    assert (tmp_path / "b" / "below" / "some").read_bytes() == bytes(range(256))


def test_the_files_of_a_suite_keep_their_arrangement_elsewhere(tmp_path: Path) -> None:
    inner = tmp_path / "suites"
    (inner / "dense").mkdir(parents=True)  # a folder that is called like a card of the registry is no file of the suite
    (inner / "dense" / "unrelated").touch()
    (inner / "mine.py").touch()
    (tmp_path / "stories.txt").touch()
    own = {"name": "own", "method": "mine.py:shrink"}
    data = {"text": "../stories.txt", "tokens": 600}
    source = suite.load(str(write_suite(inner, compressors=["dense", own], data=data)))
    files = files_of(source)
    assert files.root == tmp_path
    assert set(files.stamps) == {"suites/mine.py", "stories.txt"}
    assert files.are_here
    assert files.moved(source, Path("/elsewhere")).folder == Path("/elsewhere/suites")
    (inner / "mine.py").write_text("changed", encoding="utf-8")
    assert not files.are_here
