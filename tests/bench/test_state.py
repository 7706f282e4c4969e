"""One state from start to end, in this process: what its records say, and what becomes of every kind of failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from saetransfer.bench.planning import grid, plan, suite
from saetransfer.bench.running import state
from saetransfer.bench.running.job import CellDone, DenseResults, Event, Job, PhaseStarted, Progress
from saetransfer.leaderboard.record import Record, cell_id_of
from saetransfer.tasks.shelf import metrics
from tests.bench.world import make_world, write_suite

TRAINED = {
    "source": "trained", "site": "blocks.0.hook_mlp_out", "architecture": "topk", "d_sae": 64, "k": 4, "tokens": 2000,
}  # fmt: skip


class Runner:
    """Runs the states of a suite, the dense one first, and keeps what they tell."""

    def __init__(self, world: Path, **changes: Any) -> None:
        self.source = suite.load(str(write_suite(world, **changes)))
        self.plan = plan.make(self.source)
        self.cache = world / "cache"
        self.events: list[Event] = []
        self.records: dict[str, Record] = {}
        for planned in self.plan.states:
            self._run(planned)

    def _run(self, planned: grid.StatePlan) -> None:
        dense = {} if planned.is_dense else self.records
        job = Job(
            source=self.source,
            model=planned.model.name,
            compressor=planned.compressor.name,
            saes=tuple(cell.labels.sae for cell in planned.cells),
            dense=DenseResults(
                {cell.labels.sae: dense[f"dense/{cell.labels.sae}"].per_document for cell in planned.cells if dense}
            ),
            cache=self.cache,
        )
        told: list[Event] = []
        state.run(job, told.append, DenseResults)
        self.events += told
        for event in told:
            if isinstance(event, CellDone):
                labels = event.record.labels
                self.records[f"{labels.compressor}/{labels.sae}"] = event.record

    def value(self, cell: str, metric: str) -> float:
        found = self.records[cell].metrics[metric].value
        assert found is not None, self.records[cell].metrics[metric].reason
        return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Every source of SAEs on a dense, a pruned and a rounded state."""
    return Runner(
        make_world(tmp_path_factory.mktemp("state")),
        compressors=["dense", "wanda-50", "rtn-3"],
        saes=[
            {"name": "frozen", "source": "pretrained", "path": "sae"},
            {"name": "native", "on": "state", **TRAINED},
            {"name": "once", "on": "dense", **TRAINED},
            {"name": "half", "source": "pruned", "base": "once", "method": "wanda", "sparsity": 0.5},
            {"name": "random", "source": "random", "like": "frozen"},
        ],
    )


def test_every_cell_has_a_record_with_every_metric(whole: Runner) -> None:
    assert len(whole.records) == len(whole.plan.cells)
    for name, record in whole.records.items():
        assert record.status == "ok", (name, record.error)
        for metric, figure in record.metrics.items():
            assert figure.value is not None or figure.reason, (name, metric)


def test_a_record_says_what_its_sae_costs(whole: Runner) -> None:
    for name, record in whole.records.items():
        assert record.sae is not None, name
        assert record.sae["tokens_per_second"] > 0, name
        assert record.sae["nonzero_parameters"] <= record.sae["parameters"], name
        assert record.sae["smallest_bytes"] <= record.sae["size_bytes"], name
        trained = "once" in name or "native" in name
        assert (record.sae["cost"]["tokens"], record.sae["cost"]["flops"] > 0) == (
            (7 * 256, True) if trained else (32768, True) if "half" in name else (0, False)
        ), name
    assert {phase.name for phase in whole.records["dense/frozen"].phases} >= {"speed"}


def test_the_id_in_a_record_is_the_one_planned_and_follows_from_its_spec(whole: Runner) -> None:
    planned = {f"{cell.labels.compressor}/{cell.labels.sae}": cell.cell_id for cell in whole.plan.cells}
    assert {name: record.cell_id for name, record in whole.records.items()} == planned
    assert all(record.cell_id == cell_id_of(record.spec) for record in whole.records.values())


def test_every_value_lies_in_the_range_of_its_metric(whole: Runner) -> None:
    known = metrics()
    for name, record in whole.records.items():
        for metric, figure in record.metrics.items():
            low, high = known[metric].valid_range
            if figure.value is not None:
                # Rounding may put a divergence of two equal predictions, or a cosine of 1, a hair outside.
                assert low is None or figure.value >= low - 1e-6, (name, metric)
                assert high is None or figure.value <= high + 1e-6, (name, metric)


def test_the_dense_state_is_exact(whole: Runner) -> None:
    for sae in ("frozen", "native", "once", "half", "random"):
        figures = whole.records[f"dense/{sae}"].metrics
        for metric in ("transfer_gap", "ce_model_increase", "kl_model"):
            assert (figures[f"perplexity.{metric}"].value, figures[f"perplexity.{metric}"].ci) == (0.0, (0.0, 0.0))


def test_all_saes_of_a_state_see_the_same_model(whole: Runner) -> None:
    for compressor in ("dense", "wanda-50", "rtn-3"):
        shared = {
            (whole.value(name, "perplexity.ce_state"), whole.value(name, "perplexity.ce_dense"))
            for name in whole.records
            if name.startswith(compressor)
        }
        assert len(shared) == 1


def test_a_transfer_gap_is_the_difference_of_two_records(whole: Runner) -> None:
    for compressor in ("wanda-50", "rtn-3"):
        for sae in ("frozen", "native", "once", "half", "random"):
            here = whole.value(f"{compressor}/{sae}", "perplexity.ce_splice_increase")
            there = whole.value(f"dense/{sae}", "perplexity.ce_splice_increase")
            gap = whole.value(f"{compressor}/{sae}", "perplexity.transfer_gap")
            assert gap == pytest.approx(here - there, abs=1e-12)


def test_a_native_sae_on_the_dense_state_is_the_one_trained_there(whole: Runner) -> None:
    native, once = (whole.records[f"dense/{name}"].metrics for name in ("native", "once"))
    assert {name: figure.value for name, figure in native.items()} == {
        name: figure.value for name, figure in once.items()
    }


def test_a_native_sae_is_another_on_every_state_and_a_frozen_one_the_same(whole: Runner) -> None:
    native = {
        whole.value(f"{compressor}/native", "reconstruction.mse") for compressor in ("dense", "wanda-50", "rtn-3")
    }
    assert len(native) == 3
    sizes = {
        whole.records[f"{compressor}/once"].sae["cost"]["seconds"] for compressor in ("dense", "wanda-50", "rtn-3")
    }  # type: ignore[index]
    assert len(sizes) == 1  # made once, on the dense state, and read from the cache


def test_compression_is_verified_and_described(whole: Runner) -> None:
    pruned, rounded = (whole.records[f"{name}/frozen"].compression for name in ("wanda-50", "rtn-3"))
    assert pruned is not None
    assert rounded is not None
    assert pruned["verified"] is rounded["verified"] is True
    assert pruned["sparsity"] == pytest.approx(0.5)
    assert 3 <= rounded["effective_bits"] < 5
    assert rounded["bytes"]["theoretical"] < rounded["bytes"]["dense"]


def test_phases_and_progress_are_told(whole: Runner) -> None:
    phases = [event.phase for event in whole.events if isinstance(event, PhaseStarted)]
    assert {"load", "compress", "verify", "read", "measure", "saes"} <= set(phases)
    assert all(0 <= event.fraction <= 1 for event in whole.events if isinstance(event, Progress))
    recorded = {phase.name for phase in whole.records["wanda-50/native"].phases}
    assert {"load", "compress", "verify", "read", "saes"} <= recorded


USERS = '''
import torch
def halve(model, calibration, *, ratio: float = 0.5):
    """Multiply the first linear layer."""
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(ratio)
    return model
def nothing(model, calibration): return model
def forgets(model, calibration): model.model.layers[0].mlp.up_proj.weight.data.mul_(0.5)
def breaks(model, calibration): raise KeyError("no such layer")
def starves(model, calibration): torch.empty(2**60, dtype=torch.uint8)
def blinds(model, calibration):
    model.model.layers[0].mlp.up_proj.weight.data.fill_(float("nan")); return model
'''


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A user's functions, good and bad."""
    folder = make_world(tmp_path_factory.mktemp("users"))
    (folder / "mine.py").write_text(USERS, encoding="utf-8")
    names = ("halve", "nothing", "forgets", "breaks", "starves", "blinds")
    return Runner(folder, compressors=["dense", *({"name": name, "method": f"mine.py:{name}"} for name in names)])


def test_a_users_function_is_a_compressor_like_any_other(users: Runner) -> None:
    assert users.records["halve/frozen"].status == "ok"
    assert users.value("halve/frozen", "perplexity.kl_model") > 0


@pytest.mark.parametrize(
    ("name", "phase", "said"),
    [
        ("nothing", "verify", "none of the 21 target matrices differs"),
        ("forgets", "compress", "returned nothing (None)"),
        ("breaks", "compress", "no such layer"),
        ("starves", "compress", "There was no memory left on cpu"),
        ("blinds", "verify", "NaN"),
    ],
)
def test_a_function_that_does_not_compress_gives_failed_records(
    users: Runner, name: str, phase: str, said: str
) -> None:
    for sae in ("frozen", "random"):
        record = users.records[f"{name}/{sae}"]
        assert record.status == "failed"
        assert record.error is not None
        assert record.error.phase == phase
        assert said in record.error.message
        assert record.error.traceback
        assert not record.metrics


def test_what_is_missing_here_is_skipped_with_the_reason(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        plan.Compressor, "missing", lambda self: "needs a thing: pip install thing" if self.steps else None
    )
    runner = Runner(world)
    record = runner.records["magnitude-50/frozen"]
    assert record.status == "skipped"
    assert record.error is not None
    assert "pip install thing" in record.error.message
    assert runner.records["dense/frozen"].status == "ok"


def test_an_sae_whose_training_diverges_fails_alone(world: Path) -> None:
    wild = {"name": "wild", "on": "state", **TRAINED, "lr": 1e30}
    runner = Runner(world, saes=[{"name": "frozen", "source": "pretrained", "path": "sae"}, wild])
    assert runner.value("dense/frozen", "reconstruction.mse") > 0
    error = runner.records["dense/wild"].error
    assert error is not None
    assert "Its training diverged" in error.message


def test_one_sae_that_cannot_be_made_costs_only_its_own_cell(world: Path) -> None:
    data = {"text": "stories.txt", "tokens": 600, "context": 24, "training": {"text": "few.txt"}}
    (world / "few.txt").write_text("</s>", encoding="utf-8")  # a document, but no token that counts
    native = {"name": "native", "on": "state", **TRAINED}
    runner = Runner(world, data=data, saes=[{"name": "frozen", "source": "pretrained", "path": "sae"}, native])
    assert runner.records["magnitude-50/frozen"].status == "ok"
    error = runner.records["magnitude-50/native"].error
    assert error is not None
    assert error.phase == "saes"


def test_half_precision_models_are_measured_with_float_saes(tmp_path: Path) -> None:
    runner = Runner(make_world(tmp_path), models=[{"name": "toy", "path": "model", "dtype": "bfloat16"}])
    assert runner.value("magnitude-50/frozen", "perplexity.ce_spliced") > 0
    assert runner.value("dense/frozen", "perplexity.transfer_gap") == 0.0


def test_figures_do_not_depend_on_the_batch_size(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from saetransfer.bench.measuring import batching

    usual = Runner(world)
    monkeypatch.setattr(batching, "max_positions", lambda _model, saes: 7 if saes else 1)
    other = Runner(world)
    for name, record in usual.records.items():
        for metric, figure in record.metrics.items():
            if figure.value is not None:
                assert other.value(name, metric) == pytest.approx(figure.value, rel=1e-6, abs=1e-6), (name, metric)


def test_without_bos_windows_have_none(world: Path) -> None:
    with_bos, without = (
        Runner(world),
        Runner(world, data={"text": "stories.txt", "tokens": 600, "context": 24, "prepend_bos": False}),
    )
    assert without.records["dense/frozen"].spec.data["bos"] is False
    assert without.value("dense/frozen", "perplexity.ce_state") != with_bos.value("dense/frozen", "perplexity.ce_state")


def test_records_do_not_depend_on_the_global_random_state(world: Path) -> None:
    first = Runner(world)
    torch.rand(17)
    assert Runner(world).records["magnitude-50/random"].metrics == first.records["magnitude-50/random"].metrics
