"""Cell ids change with what can change a figure, and with nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from saetransfer.bench.planning import grid, plan, selection, suite
from saetransfer.leaderboard.record import cell_id_of
from tests.bench.world import write_suite


def planned(world: Path, *overrides: str, **changes: Any) -> grid.Plan:
    return plan.make(suite.load(str(write_suite(world, **changes)), overrides))


def ids(found: grid.Plan) -> list[str]:
    return [cell.cell_id for cell in found.cells]


def test_the_grid_is_every_state_with_every_sae_dense_first(world: Path) -> None:
    found = planned(world, compressors=["magnitude-50", "rtn-4"])
    assert [cell.path for cell in found.cells] == [
        f"toy/{compressor}/{sae}" for compressor in ("dense", "magnitude-50", "rtn-4") for sae in ("frozen", "random")
    ]
    assert len(set(ids(found))) == 6


def test_an_id_is_the_hash_of_the_spec(world: Path) -> None:
    for cell in planned(world).cells:
        assert cell.cell_id == cell_id_of(cell.spec)


def test_names_and_places_change_no_id(world: Path, tmp_path: Path) -> None:
    renamed = planned(
        world,
        name="other",
        models=[{"name": "another", "path": "model"}],
        compressors=["dense", {"name": "half", "method": "magnitude", "sparsity": 0.5}],
        saes=[
            {"name": "mine", "source": "pretrained", "path": "sae"},
            {"name": "noise", "source": "random", "like": "mine"},
        ],
    )
    moved = tmp_path / "moved"
    for part in ("model", "sae"):
        shutil.copytree(world / part, moved / part)
    shutil.copy(world / "stories.txt", moved / "stories.txt")
    assert ids(renamed) == ids(planned(world)) == ids(planned(moved))


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "data.tokens=500",
        "data.context=20",
        "data.prepend_bos=false",
        "models.0.dtype=bfloat16",
        "tasks=[perplexity]",
        "data.calibration={text: others.txt}",
    ],
)
def test_whatever_can_change_a_figure_changes_every_id(world: Path, override: str) -> None:
    (world / "others.txt").write_text("w3 w4 w5", encoding="utf-8")
    # With texts of their own for calibration and training the evaluation text is used whole.
    overrides = [override, "data.training={text: others.txt}"] if "calibration" in override else [override]
    assert not set(ids(planned(world))) & set(ids(planned(world, *overrides)))


@pytest.mark.parametrize("setting", ["sequences=5", "context=12", "seed=1", "propagation=dense"])
def test_calibration_matters_to_what_is_calibrated_and_to_nothing_else(world: Path, setting: str) -> None:
    compressors = ["dense", "magnitude-50", "wanda-50"]
    before = planned(world, compressors=compressors)
    after = planned(world, f"data.calibration.{setting}", compressors=compressors)
    changed = {a.labels.compressor for a, b in zip(before.cells, after.cells, strict=True) if a.cell_id != b.cell_id}
    assert changed == {"wanda-50"}


def test_a_changed_weight_or_text_is_another_cell(world: Path) -> None:
    before = ids(planned(world))
    text = (world / "stories.txt").read_text(encoding="utf-8")
    (world / "stories.txt").unlink()
    (world / "stories.txt").write_text(text + "\n\nw1 w2 w3", encoding="utf-8")
    assert not set(before) & set(ids(planned(world)))


def test_only_keeps_what_matches_and_the_dense_cells_that_it_is_compared_with(world: Path) -> None:
    found = planned(world, compressors=["dense", "magnitude-50", "rtn-4"])
    for pattern, expected in (
        ("*/rtn-4/frozen", ["toy/dense/frozen", "toy/rtn-4/frozen"]),
        ("rtn-4", ["toy/dense/frozen", "toy/dense/random", "toy/rtn-4/frozen", "toy/rtn-4/random"]),
        ("random", ["toy/dense/random", "toy/magnitude-50/random", "toy/rtn-4/random"]),
        ("nothing", []),
    ):
        assert [cell.path for cell in selection.select(found, pattern).cells] == expected


def test_an_sae_may_be_for_one_of_several_models(world: Path) -> None:
    saes = [
        {"name": "frozen", "source": "pretrained", "path": "sae", "model": "toy"},
        {"name": "embedded", "source": "trained", "on": "dense", "site": "blocks.0.hook_mlp_out",
         "architecture": "topk", "d_sae": 64, "k": 4},
    ]  # fmt: skip
    models: list[Any] = [{"name": "toy", "path": "model"}, "microworld"]
    found = planned(world, models=models, saes=saes, compressors=["dense"])
    assert [cell.path for cell in found.cells] == [
        "toy/dense/frozen",
        "toy/dense/embedded",
        "microworld/dense/embedded",
    ]


def test_a_job_plans_its_own_state_and_the_dense_one(world: Path) -> None:
    source = suite.load(str(write_suite(world, compressors=["dense", "magnitude-50", "wanda-50"])))
    whole, part = plan.make(source), plan.make(source, ("toy", "wanda-50"))
    assert [state.name for state in part.states] == ["toy/dense", "toy/wanda-50"]
    assert ids(part) == [cell.cell_id for cell in whole.cells if cell.labels.compressor != "magnitude-50"]
