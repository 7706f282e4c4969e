"""All tasks of a cell together, on a toy: what its record says follows from the cell and from nothing else."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from saetransfer.bench.measuring import batching
from saetransfer.bench.planning import grid, plan, selection, suite
from saetransfer.bench.running import state
from saetransfer.bench.running.job import CellDone, DenseResults, Job
from saetransfer.bench.running.todo import record_of, todo
from saetransfer.leaderboard import store
from saetransfer.leaderboard.record import Record
from tests.bench.test_state import TRAINED, Runner
from tests.bench.world import WORDS, make_world, write_suite

TASKS = ["reconstruction", "perplexity", "overlap", {"name": "probing", "k": [1, 5]}, "perturbation"]
LABELLED = {
    "name": "said",
    "path": "said.jsonl",
    "labels": {"kind": "kind", "odd": "odd"},
    "spurious": [["kind", "odd"]],
}
FROZEN = {"name": "frozen", "source": "pretrained", "path": "sae"}
RANDOM = {"name": "random", "source": "random", "like": "frozen"}
ONCE = {"name": "once", "on": "dense", **TRAINED}
NATIVE = {"name": "native", "on": "state", **TRAINED}


def documents(n: int, seed: int = 0) -> list[dict[str, str]]:
    """Documents that say their label, among other words."""
    words = random.Random(seed)
    rows = []
    for index in range(n):
        said = [*words.choices(WORDS[10:], k=words.randint(2, 9)), *[f"w{index % 2}", f"w{2 + index // 2 % 2}"] * 6]
        rows.append({"text": " ".join(said), "kind": f"k{index % 2}", "odd": f"o{index // 2 % 2}"})
    return rows


def write_rows(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


def changes(**others: Any) -> dict[str, Any]:
    data = {"text": "stories.txt", "tokens": 500, "context": 24, "probing": [LABELLED]}
    return {"tasks": TASKS, "data": data, "saes": [FROZEN, NATIVE, ONCE], **others}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """All tasks on a dense and a rounded state."""
    folder = make_world(tmp_path_factory.mktemp("tasks"))
    write_rows(folder / "said.jsonl", documents(200))
    return Runner(folder, **changes(compressors=["dense", "rtn-3"], saes=[FROZEN, NATIVE, ONCE, RANDOM]))


@pytest.fixture
def labelled_world(world: Path) -> Path:
    write_rows(world / "said.jsonl", documents(200))
    return world


def figures(record: Record) -> dict[str, Any]:
    assert record.status == "ok", record.error
    return {name: figure.model_dump() for name, figure in record.metrics.items()}


def values(record: Record) -> dict[str, float | None]:
    assert record.status == "ok", record.error
    return {name: figure.value for name, figure in record.metrics.items()}


def test_on_the_dense_state_frozen_saes_survive_wholly_and_probes_transfer_as_they_are(runner: Runner) -> None:
    for sae in ("frozen", "once", "random"):
        found = values(runner.records[f"dense/{sae}"])
        assert (found["overlap.survived"], found["overlap.damaged"]) == (1.0, 0.0)
        assert found["overlap.token_jaccard"] == found["overlap.support_jaccard"] == 1.0
        transfers = [name for name in found if ".transfer_accuracy_" in name or ".transfer_auc_" in name]
        assert transfers
        for name in transfers:
            assert found[name] == found[name.replace("transfer_", "")], name
        for name in found:
            if ".transfer_drop_" in name:
                assert found[name] == 0.0, name


def test_what_documents_say_is_read_off_and_shuffled_labels_are_not(runner: Runner) -> None:
    found = values(runner.records["dense/frozen"])
    own, shuffled = found["probing.accuracy_all"], found["probing.accuracy_shuffled"]
    assert own is not None
    assert shuffled is not None
    assert own > 0.9
    assert abs(shuffled - 0.5) < 0.25


def test_a_native_sae_has_reasons_where_it_cannot_be_compared_latent_by_latent(runner: Runner) -> None:
    for name in ("overlap.survived", "probing.transfer_accuracy_k1"):
        assert runner.records["rtn-3/native"].metrics[name].value is None
        assert runner.records["rtn-3/native"].metrics[name].reason
    assert values(runner.records["rtn-3/native"])["overlap.decoder_mmcs"] is not None


def test_records_come_back_from_strict_json_as_they_were_and_are_small(runner: Runner, tmp_path: Path) -> None:
    for record in runner.records.values():
        written = store.write(record, tmp_path)
        text = written.read_text(encoding="utf-8")
        json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
        assert store.read(written) == record
        assert len(text) < 150_000


def test_figures_do_not_depend_on_the_batch_size(
    runner: Runner, labelled_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "max_positions", lambda _model, saes: 61 if saes else 100)
    other = Runner(labelled_world, **changes(compressors=["dense", "rtn-3"], saes=[FROZEN, RANDOM]))
    for name, record in other.records.items():
        usual = values(runner.records[name])
        for metric, value in values(record).items():
            expected = usual[metric]
            if value is None or expected is None:
                assert value == expected, (name, metric)
            else:
                assert value == pytest.approx(expected, rel=1e-3, abs=1e-4), (name, metric)


def test_figures_depend_on_no_other_sae_and_on_no_order(runner: Runner, labelled_world: Path) -> None:
    alone = Runner(labelled_world, **changes(compressors=["rtn-3", "dense"], saes=[ONCE, NATIVE]))
    for name in ("dense/native", "rtn-3/native", "dense/once", "rtn-3/once"):
        assert alone.records[name].cell_id == runner.records[name].cell_id
        assert figures(alone.records[name]) == figures(runner.records[name]), name


class Again:
    """Runs, in this process, what a run of the suite would still do."""

    def __init__(self, runner: Runner, out: Path, only: str | None = None, cache: Path | None = None) -> None:
        self.cache = cache or runner.cache
        self.plan = runner.plan if only is None else selection.select(runner.plan, only)
        self.source = runner.source
        self.out = out

    def run(self) -> list[Record]:
        work = todo(self.plan, self.out, self.cache, "cpu", "missing")
        made: list[Record] = []
        for planned in self.plan.states:
            if planned.name in {*work.cells, *work.prepare}:
                made += self._run(planned, work)
        return made

    def _run(self, planned: grid.StatePlan, work: Any) -> list[Record]:
        saes = tuple(cell.labels.sae for cell in work.cells.get(planned.name, []))
        prepare = work.prepare.get(planned.name)
        found = {cell.labels.sae: record_of(cell, self.out) for cell in self.plan.dense_of(planned).cells}
        dense = {} if planned.is_dense else {sae: record.per_document for sae in saes if (record := found[sae])}
        job = Job(
            source=self.source, model=planned.model.name, compressor=planned.compressor.name, saes=saes,
            prepare=tuple(sorted(prepare.saes)) if prepare else (),
            read=tuple(sorted(prepare.conventions)) if prepare else (),
            dense=DenseResults(dense), cache=self.cache,
        )  # fmt: skip
        told: list[Any] = []
        state.run(job, told.append, DenseResults)
        records = [event.record for event in told if isinstance(event, CellDone)]
        for record in records:
            store.write(record, self.out)
        return records


def test_a_cell_that_is_run_alone_has_the_same_figures(runner: Runner, tmp_path: Path) -> None:
    made = Again(runner, tmp_path / "out", only="*/rtn-3/native", cache=tmp_path / "cache").run()
    assert {(record.labels.compressor, record.labels.sae) for record in made} == {
        ("dense", "native"),
        ("rtn-3", "native"),
    }
    for record in made:
        assert figures(record) == figures(runner.records[f"{record.labels.compressor}/native"])


@pytest.mark.parametrize("lost", ["native", "once", "random"])
def test_a_lost_record_is_made_again_as_it_was_when_the_cache_is_lost_too(
    runner: Runner, tmp_path: Path, lost: str
) -> None:
    for name, record in runner.records.items():
        if name != f"rtn-3/{lost}":
            store.write(record, tmp_path / "out")
    again = Again(runner, tmp_path / "out", cache=tmp_path / "cache")
    (made,) = again.run()
    assert figures(made) == figures(runner.records[f"rtn-3/{lost}"])
    assert again.run() == []


def test_an_sae_that_cannot_be_made_costs_its_own_cells_and_those_that_are_compared_with_it(
    labelled_world: Path,
) -> None:
    wild = {**ONCE, "name": "wild", "lr": 1e30}
    found = Runner(labelled_world, **changes(saes=[FROZEN, wild, NATIVE])).records
    for compressor in ("dense", "magnitude-50"):
        assert found[f"{compressor}/frozen"].status == "ok"
        for sae, said in (("wild", "wild"), ("native", "'wild', which it is compared with, failed")):
            error = found[f"{compressor}/{sae}"].error
            assert error is not None
            assert said in error.message


def test_a_tokenizer_without_words_leaves_the_other_tasks_their_figures(labelled_world: Path) -> None:
    record = Runner(labelled_world, **changes(tasks=["reconstruction", "absorption"], saes=[FROZEN])).records[
        "dense/frozen"
    ]
    found = record.metrics["absorption.full_mean"]
    assert (found.value, found.reason) == (None, "the tokenizer takes 0 words to fit on and 0 to test on whole")
    assert values(record)["reconstruction.mse"] is not None


def ids(world: Path, **others: Any) -> dict[str, str]:
    planned = plan.make(suite.load(str(write_suite(world, **changes(**others)))))
    return {cell.path: cell.cell_id for cell in planned.cells}


def test_cell_ids_follow_settings_and_content_of_labelled_files_and_counterpart(labelled_world: Path) -> None:
    before = ids(labelled_world)
    assert ids(labelled_world) == before
    other = [*TASKS[:3], {"name": "probing", "k": [1, 6]}, TASKS[4]]
    assert not set(ids(labelled_world, tasks=other).values()) & set(before.values())
    with_counterpart = ids(labelled_world, saes=[FROZEN, NATIVE, {**ONCE, "tokens": 3000}])
    assert with_counterpart["toy/dense/native"] != before["toy/dense/native"]
    assert with_counterpart["toy/dense/frozen"] == before["toy/dense/frozen"]
    write_rows(labelled_world / "said.jsonl", documents(201))
    assert not set(ids(labelled_world).values()) & set(before.values())


def test_cell_ids_do_not_follow_where_a_file_lies_or_what_saes_are_called(labelled_world: Path) -> None:
    before = ids(labelled_world)
    shutil.move(labelled_world / "said.jsonl", labelled_world / "elsewhere.jsonl")
    moved = {"text": "stories.txt", "tokens": 500, "context": 24, "probing": [{**LABELLED, "path": "elsewhere.jsonl"}]}
    renamed = [FROZEN, NATIVE, {**ONCE, "name": "first"}]
    assert set(ids(labelled_world, data=moved, saes=renamed).values()) == set(before.values())


def test_a_table_by_latent_changes_no_id(labelled_world: Path) -> None:
    with_table = [*TASKS[:2], {"name": "overlap", "table": True}, *TASKS[3:]]
    assert ids(labelled_world, tasks=with_table) == ids(labelled_world)


@pytest.mark.slow
def test_fewer_bits_leave_fewer_features_of_the_microworld(tmp_path: Path) -> None:
    bits = (8, 6, 4, 3)
    found = Runner(
        tmp_path,
        models=["microworld"],
        compressors=["dense", *(f"rtn-{number}" for number in bits)],
        saes=["microworld-resid-2"],
        tasks=["overlap"],
        data={"text": "microworld", "tokens": 2048, "context": 64},
    )
    survived = [found.value(f"rtn-{number}/microworld-resid-2", "overlap.survived") for number in bits]
    assert survived == sorted(survived, reverse=True)
    assert survived[0] > survived[-1] + 0.1
