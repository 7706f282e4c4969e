"""What compressors cost on average, what other SAEs win back, and what the answer says of it."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saetransfer.leaderboard import store
from saetransfer.leaderboard.boards import board, markdown
from saetransfer.leaderboard.boards.board import ModelBoard
from saetransfer.leaderboard.boards.cells import Cell, Grid
from saetransfer.leaderboard.boards.paired import reference, won_back
from saetransfer.leaderboard.record import Failure, Measurement, Record
from tests.leaderboard.examples import DEFINITIONS, grid, record, spec

GAP, SPLICED, L0 = "perplexity.transfer_gap", "perplexity.ce_splice_increase", "reconstruction.l0"
N_DOCUMENTS, TOKENS = 40, 90.0


def measured(
    compressor: str, sae: str, source: str, spliced: float, l0: float = 32.0, seed: int = 0, **changes: Any
) -> Record:
    """A cell whose SAE costs `spliced` nats more a token than documents of their own difficulty do."""
    difficulty = np.random.default_rng(0).normal(3.0, 1.0, N_DOCUMENTS)
    own = np.random.default_rng(seed).normal(spliced, 0.01, N_DOCUMENTS)
    sums = (TOKENS * (difficulty + own)).tolist()
    on = "dense" if sae.startswith("frozen") else "state"
    its_spec = spec(compressor, sae, source, sae={"name": sae, "source": source, "on": on, **changes})
    metrics = {
        SPLICED: Measurement(value=spliced, unit="nats", ci=(spliced - 0.1, spliced + 0.1)),
        GAP: Measurement(value=spliced - 0.1, unit="nats", ci=(spliced - 0.2, spliced)),
        L0: Measurement(value=l0, unit="latents"),
    }
    per_document = {"ce_spliced": sums, "n_scored": [TOKENS] * N_DOCUMENTS}
    cost = {"cost": {"seconds": 12.0, "tokens": 5000}}
    cell = record(compressor, sae, source, spec=its_spec, metrics=metrics, per_document=per_document)
    return cell.model_copy(update={"sae": cost})


def model_of(records: list[Record]) -> ModelBoard:
    (model,) = board.build(records, DEFINITIONS).models
    return model


def column(found: Grid | None, title: str, name: int = 1) -> dict[str, Cell]:
    assert found is not None
    (place,) = [at for at, header in enumerate(found.headers) if header.text.startswith(title)]
    return {row.cells[name].text: row.cells[place] for row in found.rows}


def test_compressors_are_averaged_over_frozen_saes_alone() -> None:
    cells = [
        *(measured("c", sae, "trained", value) for sae, value in (("frozen", 0.2), ("frozen-2", 0.4))),
        measured("c", "native", "trained", 0.9),
        measured("c", "random", "random", 5.0),
    ]
    gap = column(model_of(cells).compressors, "transfer gap")["c"]
    assert gap.value == pytest.approx(0.2)
    assert gap.interval == pytest.approx((0.1, 0.3))


def test_a_mean_over_fewer_saes_than_elsewhere_does_not_compete() -> None:
    cells = [
        *(measured(name, "frozen", "trained", 0.5) for name in ("a", "b", "c")),
        *(measured(name, "frozen-2", "trained", 0.9) for name in ("b", "c")),
        record("a", "frozen-2", error=Failure(phase="measure", type="E", message="too large")),
    ]
    gap = column(model_of(cells).compressors, "transfer gap")
    assert gap["a"].text.endswith(" §")
    assert (gap["a"].rank, gap["b"].rank) == (None, 1)
    text = markdown.render(cells, DEFINITIONS)
    assert "1 ok, 1 failed" in text
    assert "- *§*: a mean over fewer frozen SAEs" in text


def test_dense_has_no_rank_and_costs_of_the_model_are_those_of_its_cells() -> None:
    found = model_of(grid()).compressors
    assert column(found, "rank")["dense"].text == "–"
    assert column(found, "model CE increase")["wanda-50"].text == "0.250 ± 0.010"


def test_a_state_whose_cells_all_failed_alike_tells_why() -> None:
    failed = [
        record(compressor="c", sae=sae, error=Failure(phase="compress", type="E", message="boom"))
        for sae in ("frozen", "b")
    ]
    assert column(model_of([*grid(), *failed]).compressors, "cells")["c"].text == "failed (compress): boom"


def test_costs_of_different_hardware_never_meet() -> None:
    speed = {"cost.latency_ms_p50": DEFINITIONS[GAP]._replace(unit="ms")}
    cells = []
    for name, cpu, latency in (("a", "one", 1.0), ("b", "one", 2.0), ("c", "two", 0.1), ("d", "two", 0.2)):
        cell = measured(name, "frozen", "trained", 0.5)
        hardware = {"cpu": cpu, "cores": 2, "threads": 2, "memory_gib": 8, "gpus": [], "system": "Linux"}
        metrics = {**cell.metrics, "cost.latency_ms_p50": Measurement(value=latency, unit="ms", ci=None)}
        environment = {"hardware": hardware, "device": "cpu", "threads": 2}
        cells.append(cell.model_copy(update={"metrics": metrics, "environment": environment}))
    built = board.build(cells, {**DEFINITIONS, **speed})
    latency = column(built.models[0].compressors, "latency")
    assert {name: (one.text, one.rank) for name, one in latency.items()} == {
        "a": ("1.000 (A)", 1),
        "b": ("2.000 (A)", 2),
        "c": ("0.1000 (B)", 1),
        "d": ("0.2000 (B)", 2),
    }
    fronts = [one for one in built.models[0].fronts if one.x.key.startswith("cost.")]
    assert {tuple(point.name for point in one.points) for one in fronts} == {("a", "b"), ("c", "d")}
    assert "A: one, 2 threads" in built.hardware
    assert "not ranked together" in built.hardware


def test_what_is_won_back_is_paired_over_documents() -> None:
    frozen, native = measured("c", "frozen", "trained", 0.5), measured("c", "native", "trained", 0.3, seed=1)
    won = won_back(native, frozen)
    assert won is not None
    assert won.value == pytest.approx(0.2, abs=0.01)
    # Documents differ by one nat from each other, the two SAEs by a hundredth on any of them.
    assert won.ci is not None
    assert won.ci[1] - won.ci[0] < 0.02


def test_the_interval_is_that_of_a_mean_where_documents_are_equally_long() -> None:
    frozen, native = measured("c", "frozen", "trained", 0.5), measured("c", "native", "trained", 0.3, seed=1)
    differences = np.subtract(frozen.per_document["ce_spliced"], native.per_document["ce_spliced"]) / TOKENS
    won = won_back(native, frozen)
    assert won is not None
    assert won.ci is not None
    half = 1.959964 * differences.std(ddof=1) / math.sqrt(N_DOCUMENTS)
    assert won.ci == pytest.approx((differences.mean() - half, differences.mean() + half))


def test_without_sums_the_interval_is_never_too_narrow() -> None:
    frozen = measured("c", "frozen", "trained", 0.5).model_copy(update={"per_document": {}})
    won = won_back(measured("c", "native", "trained", 0.3), frozen)
    assert won is not None
    assert won.ci == pytest.approx((0.0, 0.4))


def test_the_reference_is_the_base_or_else_the_nearest_l0() -> None:
    near, far = measured("c", "frozen", "trained", 0.5, l0=30.0), measured("c", "frozen-2", "trained", 0.5, l0=90.0)
    pruned = measured("c", "pruned", "pruned", 0.5, l0=31.0, base=far.spec.sae)
    assert reference(pruned, [near, far]) is far
    assert reference(measured("c", "native", "trained", 0.5, l0=31.0), [near, far]) is near
    assert reference(pruned, [record(spec=spec(site="elsewhere"))]) is None


def test_an_sae_of_another_l0_does_not_compete() -> None:
    cells = [
        measured("c", "frozen", "trained", 0.5),
        measured("c", "native", "trained", 0.1, l0=80.0, seed=1),
        measured("c", "tuned", "finetuned", 0.3, seed=2),
    ]
    model = model_of(cells)
    ranks = column(model.saes, "rank")
    assert ranks["native (trained)"].text == "–"
    assert column(model.saes, "L0")["native (trained)"].text == "80.00 †"
    assert any("Native SAEs: none has the L0 of the frozen SAE" in sentence for sentence in model.answer)


def test_the_answer_counts_only_what_intervals_tell() -> None:
    cells = [
        measured("dense", "frozen", "trained", 0.1),
        measured("a", "frozen", "trained", 0.5),
        measured("b", "frozen", "trained", 0.15, seed=3),
        measured("a", "native", "trained", 0.3, seed=1),
        measured("b", "native", "trained", 0.15, seed=3),
        measured("a", "half", "pruned", 0.9, seed=2, params={"method": "wanda", "sparsity": 0.5}),
        # A state that could not be had says nothing.
        measured("c", "frozen", "trained", 0.5).model_copy(update={"status": "skipped", "metrics": {}}),
    ]
    first, *rest = model_of(cells).answer
    assert "on 2 compressed states" in first
    assert "above zero in 1, below zero in 0, not told apart from zero in 1" in first
    (native,) = [sentence for sentence in rest if sentence.startswith("Native SAEs (12 s, 5,000 tokens each) win back")]
    assert "better than the frozen one in 1, worse in 0, not told apart from it in 1" in native
    (pruned,) = [sentence for sentence in rest if sentence.startswith("Pruned SAEs (wanda, 50 %)")]
    assert "nats more than frozen SAEs" in pruned
    assert any(sentence.startswith("That is") and "than native SAEs cost" in sentence for sentence in rest)


@pytest.mark.parametrize(("spliced", "is_said"), [(-0.5, True), (-0.05, False), (0.5, False)])
def test_the_answer_warns_where_the_model_does_better_with_an_sae_than_without(spliced: float, is_said: bool) -> None:
    cells = [measured("dense", "frozen", "trained", spliced), measured("c", "frozen", "trained", spliced)]
    warning = "In 1 of these cells the model predicts the text better with the frozen SAE in it than without"
    assert any(sentence.startswith(warning) for sentence in model_of(cells).answer) == is_said


def test_the_answer_says_what_the_data_cannot_tell() -> None:
    def told(*cells: Record) -> str:
        return " ".join(model_of(list(cells)).answer)

    assert "No state here is compressed" in told(record())
    assert "There is no frozen SAE" in told(record("c", "random", "random"))
    assert "No SAE here was trained, finetuned or pruned" in told(record("c"))
    without = told(record("c", gap=None))
    assert "No frozen SAE has a transfer gap here. Reason: no dense state in the suite." in without
    assert "Mistrust this" in told(record(gap=0.5), record("c"))


def test_the_bytes_do_not_depend_on_records_files_or_folders(tmp_path: Path) -> None:
    cells = [
        measured(name, sae, source, 0.1 * place)
        for place, name in enumerate(("dense", "a", "b", "c"))
        for sae, source in (("frozen", "trained"), ("native", "trained"), ("random", "random"))
    ]
    expected = markdown.render(cells, DEFINITIONS)
    for seed in range(5):
        generator = random.Random(seed)
        generator.shuffle(cells)
        folders = [tmp_path / f"{seed}-{place}" for place in range(3)]
        for cell in cells:
            store.write(cell, generator.choice(folders))
        found = store.read_all(folder for folder in generator.sample(folders, 3) if folder.exists())
        assert markdown.render(found.records, DEFINITIONS) == expected
        assert markdown.render(cells, DEFINITIONS) == expected


def test_a_section_alone_has_what_it_needs() -> None:
    built = board.build(grid(), DEFINITIONS)
    text = markdown.to_markdown(built, "compressors")
    assert "What each compressor costs" in text
    assert "All cells" not in text
    assert "- *transfer gap*: " in text
    assert "loss recovered" not in text
    assert "Frozen SAEs (" in markdown.to_markdown(built, "answer")
