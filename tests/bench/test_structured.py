"""States with fewer blocks, heads or neurons: an SAE is measured where its site is now, or skipped with the reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.bench.test_state import Runner
from tests.bench.world import make_world


def sae_at(world: Path, site: str) -> dict[str, Any]:
    """The world's SAE, as one that reads another site."""
    folder = world / site
    shutil.copytree(world / "sae", folder)
    config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    config["metadata"]["hook_name"] = site
    (folder / "cfg.json").write_text(json.dumps(config), encoding="utf-8")
    return {"name": site, "source": "pretrained", "path": site}


SITES = (
    "blocks.0.hook_resid_post",
    "blocks.1.hook_resid_post",
    "blocks.2.hook_resid_pre",
    "blocks.1.hook_mlp_out",
    "blocks.2.hook_mlp_out",
    "blocks.1.attn.hook_z",
    "blocks.2.attn.hook_z",
)
NATIVE = {"source": "trained", "on": "state", "architecture": "topk", "d_sae": 64, "k": 4, "tokens": 500}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Every kind of site on states that lost a block, heads and neurons."""
    world = make_world(tmp_path_factory.mktemp("structured"))
    native = [
        {"name": f"native {place}", "site": f"blocks.{layer}.{kind}", **NATIVE}
        for place, layer, kind in (("stream", 1, "hook_resid_post"), ("gone", 1, "hook_mlp_out"))
    ]
    return Runner(
        world,
        compressors=[
            "dense",
            {"name": "dropped", "method": "drop-blocks", "blocks": [1]},
            "heads-50",
            "neurons-50",
            {"name": "both", "chain": ["drop-1-block", "heads-50", "rtn-8"]},
        ],
        saes=[*(sae_at(world, site) for site in SITES), *native],
    )


def skipped(runner: Runner, compressor: str) -> dict[str, str]:
    """The reason of every cell that was skipped; all others must be whole."""
    reasons: dict[str, str] = {}
    for name, record in runner.records.items():
        if record.labels.compressor == compressor:
            assert record.status in ("ok", "skipped"), (name, record.error)
            if record.error is not None:
                reasons[record.labels.sae] = record.error.message
    return reasons


def test_only_the_cells_whose_site_is_gone_are_skipped(runner: Runner) -> None:
    assert len(runner.records) == len(runner.plan.cells)
    assert not skipped(runner, "dense")
    assert not skipped(runner, "neurons-50")
    assert skipped(runner, "heads-50").keys() == {"blocks.1.attn.hook_z", "blocks.2.attn.hook_z"}
    dropped = skipped(runner, "dropped")
    assert dropped.keys() == {"blocks.1.hook_mlp_out", "blocks.1.attn.hook_z", "native gone"}
    assert "Block 1 was taken out" in dropped["native gone"]
    assert "Heads were taken out of block 2" in skipped(runner, "heads-50")["blocks.2.attn.hook_z"]
    assert {"blocks.1.attn.hook_z", "blocks.2.attn.hook_z"} <= skipped(runner, "both").keys()


def test_the_stream_around_a_dropped_block_is_one(runner: Runner) -> None:
    """The same SAE before and after the missing block reads the same activations, which it does not on `dense`."""
    for metric in ("reconstruction.mse", "perplexity.ce_spliced", "perplexity.ce_state"):
        before, after, next_one = (
            runner.value(f"dropped/{site}", metric)
            for site in ("blocks.0.hook_resid_post", "blocks.1.hook_resid_post", "blocks.2.hook_resid_pre")
        )
        assert before == after == next_one
    assert runner.value("dense/blocks.0.hook_resid_post", "reconstruction.mse") != runner.value(
        "dense/blocks.1.hook_resid_post", "reconstruction.mse"
    )


def test_what_lies_before_the_dropped_block_is_as_in_the_dense_state(runner: Runner) -> None:
    name = "blocks.0.hook_resid_post"
    assert runner.value(f"dropped/{name}", "reconstruction.mse") == runner.value(f"dense/{name}", "reconstruction.mse")
    assert runner.value(f"dropped/{name}", "perplexity.kl_model") > 0


def test_a_native_sae_is_trained_where_its_site_is_now(runner: Runner) -> None:
    assert runner.records["dropped/native stream"].status == "ok"
    assert runner.value("dropped/native stream", "reconstruction.mse") < runner.value(
        "dropped/blocks.1.hook_resid_post", "reconstruction.mse"
    )


def test_what_was_taken_out_stands_in_the_record(runner: Runner) -> None:
    compression = runner.records["dropped/blocks.0.hook_resid_post"].compression
    assert compression is not None
    assert compression["verified"]
    assert compression["sparsity"] == pytest.approx(1 / 3, abs=1e-5)
    assert compression["output_error"] is None
    assert {matrix["removed"] for matrix in compression["matrices"]} == {0.0, 1.0}
    assert compression["bytes"]["theoretical"] == compression["bytes"]["actual"] < compression["bytes"]["dense"]
