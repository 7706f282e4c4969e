"""The demo on Ray: one node of one core, and two of them, which share nothing; figures compared."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from ...leaderboard import store
from ...leaderboard.record import Measurement
from . import command

_ROUNDS = 2
_SETTLING_SECONDS = 10.0
"""Until Ray's own processes have started on all nodes: here they share the cores with those of the run."""

Figures = dict[str, dict[str, Measurement]]
"""By cell id and metric."""


def section() -> str:
    """Times of whole commands, and whether the figures are the same."""
    if find_spec("ray") is None:
        return "Not measured: Ray is not installed."
    runs = {n_nodes: [_run(n_nodes) for _ in range(_ROUNDS)] for n_nodes in (1, 2)}
    seconds = {n_nodes: median(one for one, _ in found) for n_nodes, found in runs.items()}
    figures = [found for several in runs.values() for _, found in several]
    same = "equal" if all(found == figures[0] for found in figures) else "NOT EQUAL"
    rows = [
        "| `saetransfer run demo --executor ray` | time | ratio |",
        "| --- | ---: | ---: |",
        f"| one node of one core | {seconds[1]:.0f} s | 1.0 |",
        f"| two nodes of one core | {seconds[2]:.0f} s | {seconds[2] / seconds[1]:.2f} |",
    ]
    return (
        f"Whole commands, SAEs trained anew, medians of {_ROUNDS}; nodes have no folder in common, and load the "
        f"libraries in each run. Ids and figures of all {len(figures[0])} cells: {same}.\n\n" + "\n".join(rows)
    )


def _run(n_nodes: int) -> tuple[float, Figures]:
    """Seconds of the command on a new cluster, and the figures."""
    with tempfile.TemporaryDirectory() as name, _cluster(n_nodes, Path(name)) as address:
        seconds = command.run("demo", Path(name), options=["--executor", "ray", "--address", address])
        records = store.read_all([Path(name) / "out"]).records
    return seconds, {record.cell_id: dict(record.metrics) for record in records}


@contextmanager
def _cluster(n_nodes: int, folder: Path) -> Iterator[str]:
    """The address of a cluster whose head runs nothing."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for index in range(n_nodes):
            cluster.add_node(num_cpus=1, env_vars={"SAETRANSFER_CACHE": str(folder / f"node-{index}")})
        time.sleep(_SETTLING_SECONDS)
        yield str(cluster.address)
    finally:
        cluster.shutdown()
