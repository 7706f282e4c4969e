"""Costs in records: beside the quality figures, never among them, and only where something has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from saetransfer.bench.planning import plan, suite
from saetransfer.bench.running import costing
from saetransfer.bench.running.known_costs import with_costs
from saetransfer.bench.running.todo import todo
from saetransfer.leaderboard import store
from saetransfer.leaderboard.costs import Conditions, incomparable, repeats
from saetransfer.leaderboard.record import Record
from saetransfer.tasks.cost.task import Cost
from tests.bench.test_state import TRAINED, Runner
from tests.bench.world import make_world, write_suite

COST = {
    "name": "cost", "batch_sizes": [1, 2], "prompt_tokens": 8, "new_tokens": 2, "sae_tokens": 32, "repeats": 6,
    "seconds": 0.01,
}  # fmt: skip
FROZEN = {"name": "frozen", "source": "pretrained", "path": "sae"}
CHANGES: dict[str, Any] = {
    "compressors": ["dense", "rtn-4", "bnb-int8"],
    "saes": [FROZEN, {"name": "native", "on": "state", **TRAINED}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("costs"))


@pytest.fixture(scope="module")
def costed(folder: Path) -> Runner:
    return Runner(folder, tasks=["perplexity", COST], **CHANGES)


@pytest.fixture(scope="module")
def plain(folder: Path) -> Runner:
    return Runner(folder, tasks=["perplexity"], **CHANGES)


def quality(record: Record) -> dict[str, Any]:
    assert record.status == "ok", record.error
    return {name: figure for name, figure in record.metrics.items() if figure.kind == "quality"}


def test_costs_change_no_quality_figure_and_no_cell_id(costed: Runner, plain: Runner) -> None:
    for name, record in plain.records.items():
        assert quality(costed.records[name]) == quality(record) == record.metrics
        assert costed.records[name].cell_id == record.cell_id
        assert costed.records[name].per_document == record.per_document


def test_every_cost_is_there_or_has_a_reason(costed: Runner) -> None:
    for name, record in costed.records.items():
        found = {metric: figure for metric, figure in record.metrics.items() if metric.startswith("cost.")}
        assert set(found) == {metric.name for metric in Cost().metrics} - _OTHER_SIZES | _OWN_SIZES
        for metric, figure in found.items():
            assert figure.kind == "cost"
            assert figure.value is None or figure.value >= 0, (name, metric)
            assert figure.reason or (figure.value is not None and figure.ci is not None), (name, metric)


_OTHER_SIZES = {f"cost.prefill_{what}_b{size}" for what in ("tokens_per_second", "speedup") for size in (8, 32)}
_OWN_SIZES = {f"cost.prefill_{what}_b2" for what in ("tokens_per_second", "speedup")}


def test_a_simulation_has_no_speed_and_a_kernel_has(costed: Runner) -> None:
    simulated = costed.records["rtn-4/frozen"].metrics["cost.decode_tokens_per_second"]
    assert (simulated.value, simulated.reason) == (None, costing.NO_KERNEL)
    assert costed.records["rtn-4/frozen"].metrics["cost.decode_speedup"].reason == costing.NO_KERNEL
    assert costed.value("bnb-int8/frozen", "cost.decode_tokens_per_second") > 0


def test_bytes_are_those_of_verification_and_smaller_for_a_kernel(costed: Runner) -> None:
    for name, record in costed.records.items():
        sizes = (record.compression or {})["bytes"]
        assert costed.value(name, "cost.weight_bytes_stored") == sizes["actual"]
        assert costed.value(name, "cost.weight_bytes_theoretical") == sizes["theoretical"]
    on_disk = {name: costed.value(name, "cost.weight_bytes_on_disk") for name in costed.records}
    assert on_disk["bnb-int8/frozen"] < on_disk["dense/frozen"] == pytest.approx(on_disk["rtn-4/frozen"], rel=0.01)


def test_what_was_never_made_or_compressed_or_is_not_there_has_no_cost(costed: Runner) -> None:
    metrics = costed.records["dense/frozen"].metrics
    for metric in ("compress_seconds", "sae_training_seconds", "sae_training_tokens", "peak_cuda_allocated_bytes"):
        assert metrics[f"cost.{metric}"].value is None
        assert metrics[f"cost.{metric}"].reason
    assert 0 < costed.value("dense/native", "cost.sae_training_tokens") <= TRAINED["tokens"]
    assert costed.value("rtn-4/native", "cost.compress_seconds") > 0


def test_all_cells_of_a_state_have_its_costs_and_each_its_saes(costed: Runner) -> None:
    for metric in ("latency_ms_p50", "peak_rss_bytes"):
        assert costed.value("dense/frozen", f"cost.{metric}") == costed.value("dense/native", f"cost.{metric}")
    speeds = [costed.value(f"dense/{sae}", "cost.sae_tokens_per_second") for sae in ("frozen", "native")]
    assert speeds[0] != speeds[1]


def test_speedups_come_from_the_repeats_of_the_dense_record_on_the_same_hardware(costed: Runner) -> None:
    dense, kernel = costed.records["dense/frozen"], costed.records["bnb-int8/frozen"]
    assert incomparable(dense, kernel) is None
    task = costed.plan.cost
    assert task is not None
    found = costing.dense_repeats(task, kernel.environment, dense)
    assert isinstance(found, dict)
    assert found["cost.latency_ms_p50"] == repeats(dense, "cost.latency_ms_p50")
    assert len(found["cost.latency_ms_p50"]) == 6
    slower = costing.dense_repeats(task, {**kernel.environment, "threads": 7}, dense)
    assert "threads 7 against" in str(slower)
    assert costed.value("dense/frozen", "cost.decode_speedup") == pytest.approx(1.0, rel=1e-4)


def test_a_state_whose_costs_cannot_be_measured_keeps_its_quality_figures(
    folder: Path, plain: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no cache in this model")

    monkeypatch.setattr(Cost, "exercise", fail)
    found = Runner(folder, tasks=["perplexity", COST], compressors=["dense"], saes=[FROZEN]).records["dense/frozen"]
    assert quality(found) == plain.records["dense/frozen"].metrics
    assert found.metrics["cost.peak_rss_bytes"].reason == "RuntimeError: no cache in this model"
    assert found.metrics["cost.sae_bytes"].value is not None


def test_cells_without_the_costs_that_are_asked_for_are_run_again_and_others_are_not(
    costed: Runner, plain: Runner, tmp_path: Path, folder: Path
) -> None:
    for record in plain.records.values():
        store.write(record, tmp_path)
    assert todo(plain.plan, tmp_path, tmp_path, "cpu", "missing").n_cells == 0
    assert todo(costed.plan, tmp_path, tmp_path, "cpu", "missing").n_cells == len(costed.records)
    for record in costed.records.values():
        store.write(record, tmp_path)
    for asked in (plain.plan, costed.plan):
        assert todo(asked, tmp_path, tmp_path, "cpu", "missing").n_cells == 0
    other = write_suite(folder, "other.yaml", tasks=["perplexity", {**COST, "prompt_tokens": 9}], **CHANGES)
    patient = write_suite(folder, "patient.yaml", tasks=["perplexity", {**COST, "repeats": 7}], **CHANGES)
    found = {file.stem: plan.make(suite.load(str(file))) for file in (other, patient)}
    assert todo(found["other"], tmp_path, tmp_path, "cpu", "missing").n_cells == len(costed.records)
    assert todo(found["patient"], tmp_path, tmp_path, "cpu", "missing").n_cells == 0


def test_a_state_is_compared_with_a_dense_record_that_has_the_costs_of_the_plan(costed: Runner, plain: Runner) -> None:
    without, costs = plain.records["dense/frozen"], costed.records["dense/native"]
    found = with_costs(costed.plan, [None, without, costs])
    assert found is not None
    assert (found.cell_id, found.per_document) == (costs.cell_id, {})
    assert with_costs(costed.plan, [without]) is None
    assert with_costs(plain.plan, [costs]) is None


def test_costs_of_the_same_task_with_more_patience_are_comparable(costed: Runner) -> None:
    record = costed.records["dense/frozen"]
    assert Conditions.of(record).workload == Cost().workload | {
        key: COST[key] for key in ("batch_sizes", "prompt_tokens", "new_tokens", "sae_tokens")
    }
