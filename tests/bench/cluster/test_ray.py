"""The command line on a real Ray cluster: two nodes of one core each, which share nothing but Ray."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saetransfer.bench.running import run
from saetransfer.leaderboard import store
from saetransfer.leaderboard.record import Record
from tests.bench.command import saetransfer
from tests.bench.world import make_world, write_suite

pytest.importorskip("ray", reason="Ray is not installed: pip install 'saetransfer[ray]'")

from ray.cluster_utils import Cluster

from saetransfer.bench.running.cluster import executor, place

pytestmark = [pytest.mark.ray, pytest.mark.slow]

STATES = ["dense", "wanda-50", "rtn-3", "magnitude-50", "rtn-4"]
SAES = [
    {"name": "frozen", "source": "pretrained", "path": "sae"},
    {"name": "native", "source": "trained", "like": "frozen", "on": "state", "tokens": 2000},
    {"name": "once", "source": "trained", "like": "frozen", "on": "dense", "tokens": 2000},
]


@pytest.fixture(autouse=True)
def plain_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray takes no generator that is wrapped, as every function is whose annotations are checked."""
    monkeypatch.setattr(executor, "host", inspect.unwrap(executor.host))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A head without cores, and two nodes, each with a cache of its own."""
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for name in ("a", "b"):
        folder = str(tmp_path_factory.mktemp(f"node-{name}"))
        started.add_node(num_cpus=1, env_vars={"SAETRANSFER_CACHE": folder})
    yield started
    started.shutdown()


@pytest.fixture(scope="module")
def locally(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world in which the suite has been run by local processes."""
    world = make_world(tmp_path_factory.mktemp("local"), "gpt2")
    write_suite(world, compressors=STATES, saes=SAES, tasks=["reconstruction", "perplexity", "overlap"])
    finished = saetransfer(world, "run", "suite.yaml", "--out", "local", "--jobs", "2")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return world


def on_ray(cluster: Cluster, world: Path, *arguments: str) -> Any:
    ray = ["--executor", "ray", "--address", str(cluster.address)]
    return saetransfer(world, "run", "suite.yaml", "--out", "out", *ray, *arguments)


def records(folder: Path) -> dict[str, Record]:
    found = store.read_all([folder])
    assert not found.problems
    return {record.cell_id: record for record in found.records}


def figures(record: Record) -> dict[str, Any]:
    return {name: metric for name, metric in record.metrics.items() if not name.startswith("cost.")}


def same(one: dict[str, Record], other: dict[str, Record]) -> None:
    assert one.keys() == other.keys()
    assert {record.status for record in one.values()} == {"ok"}
    for cell_id, record in one.items():
        assert figures(record) == figures(other[cell_id])
        assert record.per_document == other[cell_id].per_document


def test_the_same_records_as_by_local_processes(cluster: Cluster, locally: Path, tmp_path: Path) -> None:
    world = fresh(locally, tmp_path)
    finished = on_ray(cluster, world)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    same(records(world / "out"), records(locally / "local"))
    assert (world / "out" / "logs" / "toy__wanda-50.log").is_file()
    # What the nodes have made has come back, and a second run finds it.
    assert {folder.name for folder in (world / "cache").iterdir()} >= {"sae", "reading"}
    assert "15 were there before" in on_ray(cluster, world).stdout


def test_a_node_that_is_killed_costs_only_what_ran_there(cluster: Cluster, locally: Path, tmp_path: Path) -> None:
    world = fresh(locally, tmp_path)
    at_the_kill: dict[str, bytes] = {}
    victim = cluster.add_node(num_cpus=1, env_vars={"SAETRANSFER_CACHE": str(tmp_path / "victim")})

    def kill_a_node() -> None:
        # When the dense state is done, each of three nodes has one of the four others.
        while len(cells := sorted((world / "out" / "cells").glob("*.json"))) < 4:
            time.sleep(0.05)
        at_the_kill.update((path.name, path.read_bytes()) for path in cells)
        victim.all_processes["raylet"][0].process.kill()

    killer = threading.Thread(target=kill_a_node, daemon=True)
    killer.start()
    finished = on_ray(cluster, world)
    killer.join(timeout=10)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    same(records(world / "out"), records(locally / "local"))
    assert at_the_kill
    assert any((tmp_path / "victim").iterdir()), "the node that was killed had been given nothing to do"
    assert {name: (world / "out" / "cells" / name).read_bytes() for name in at_the_kill} == at_the_kill


def test_a_state_that_waits_makes_way_for_a_dense_one_whose_node_is_lost(locally: Path, tmp_path: Path) -> None:
    world = fresh(locally, tmp_path)
    (world / "suite.yaml").unlink()
    # The dense state has much to train, so that it is still at it when another one has begun and come to wait.
    long = [*SAES[:2], {**SAES[2], "tokens": 200_000}]
    write_suite(world, compressors=STATES[:3], saes=long, tasks=["reconstruction", "perplexity", "overlap"])
    two = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    caches = [tmp_path / "node-a", tmp_path / "node-b"]
    nodes = {cache: two.add_node(num_cpus=1, env_vars={"SAETRANSFER_CACHE": str(cache)}) for cache in caches}
    killed: list[Path] = []

    def kill_the_dense_node() -> None:
        while len(begun := [log for cache in caches for log in cache.rglob("toy__*.log")]) < 2:
            time.sleep(0.05)
        log = next((log for log in begun if log.name == "toy__dense.log"), None)
        if log is None:
            return
        killed.append(next(cache for cache in caches if log.is_relative_to(cache)))
        nodes[killed[0]].all_processes["raylet"][0].process.kill()

    killer = threading.Thread(target=kill_the_dense_node, daemon=True)
    killer.start()
    try:
        finished = on_ray(two, world)
    finally:
        two.shutdown()
    assert killed, "the dense state and another one never ran side by side"
    assert finished.returncode == 0, finished.stdout + finished.stderr
    found = records(world / "out")
    assert len(found) == 9
    assert {record.status for record in found.values()} == {"ok"}


def test_what_no_node_could_ever_hold_is_skipped_and_says_so(
    cluster: Cluster, locally: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (run, place):
        monkeypatch.setattr(module, "memory_bytes", lambda state: 2**50)
    world = fresh(locally, tmp_path)
    assert "It needs a node with 1 CPU, 1048576.0 GiB" in on_ray(cluster, world, "--dry-run").stdout
    assert on_ray(cluster, world, "--only", "frozen").returncode == 0
    for record in records(world / "out").values():
        assert record.status == "skipped"
        assert record.error is not None
        assert "It needs a node with" in record.error.message


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "ray://127.0.0.1:10001"])
def test_an_address_where_nobody_answers_is_told_at_once(locally: Path, address: str) -> None:
    refused = saetransfer(locally, "run", "suite.yaml", "--out", "new", "--executor", "ray", "--address", address)
    assert refused.returncode == 2
    assert f"--address {address}: no Ray cluster answers" in refused.stderr


def test_a_device_that_no_node_has_is_refused_at_once(cluster: Cluster, locally: Path) -> None:
    refused = on_ray(cluster, locally, "--device", "cuda")
    assert refused.returncode == 2
    assert "no node of the cluster has a GPU" in refused.stderr


def fresh(world: Path, folder: Path) -> Path:
    """Another folder with the same suite, and nothing run yet."""
    for part in ("model", "sae", "stories.txt", "suite.yaml"):
        (folder / part).symlink_to(world / part)
    return folder
