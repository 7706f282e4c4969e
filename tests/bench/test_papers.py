"""The suites of the papers with toys in place of models and SAEs: same architectures, same formats, same grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from saetransfer.bench.planning import plan, suite, yaml_file
from saetransfer.leaderboard import store
from saetransfer.leaderboard.boards.matching import unmatched
from saetransfer.leaderboard.record import Record, cell_id_of
from saetransfer.registry.saes.folder import save
from tests.bench.command import saetransfer
from tests.bench.test_tasks import LABELLED, documents, write_rows
from tests.bench.world import make_world
from tests.registry.saes.common import sae_of
from tests.registry.saes.test_formats import gemma_scope, sparsify

LAYER = 1
HOOKS = {"resid": "hook_resid_post", "mlp": "hook_mlp_out", "attn": "attn.hook_z"}
SCOPES = {"resid": "res", "mlp": "mlp", "attn": "att"}
WIDE = {"hidden_size": 64, "intermediate_size": 64}
"""bitsandbytes has 4 bits on a CPU only for matrices whose rows are multiples of 64."""
SHORT = {"tokens": 512, "batch_size": 64}


def of_gpt2(folder: Path, site: str) -> dict[str, Any]:
    """SAELens' folders: TopK behind a layer norm; for the heads a standard SAE of a processed model."""
    hook_name = f"blocks.{LAYER}.{HOOKS[site]}"
    heads = site == "attn"
    own: dict[str, Any] = {"reshape_activations": "hook_z"} if heads else {"normalize_activations": "layer_norm"}
    save(sae_of("standard" if heads else "topk", hook_name=hook_name, d_in=64, **own), folder / site)
    return {"path": site, **({"processed": True} if heads else {"prepend_bos": False})}


def of_gemma(folder: Path, site: str) -> dict[str, Any]:
    """Gemma Scope's folders, whose names say the site."""
    path = Path(f"gemma-scope-2b-pt-{SCOPES[site]}") / f"layer_{LAYER}" / "width_16k" / "average_l0_4"
    gemma_scope(folder / path, d_in=64)
    return {"path": str(path)}


def of_pythia(folder: Path, _site: str) -> dict[str, Any]:
    """sparsify's folders, whose names are those of modules."""
    sparsify(folder / f"layers.{LAYER}", d_in=64)
    return {"path": "layers.{layer}"}


def twin(name: str, folder: Path, frozen: Callable[[Path, str], dict[str, Any]]) -> Path:
    """A shipped suite with everything small: one layer, local files, few tokens; compressors and tasks are its own."""
    content = yaml_file.parse(suite.shipped()[name].read_text(encoding="utf-8"))
    content["models"] = [{"name": model, "path": "model"} for model in content["models"]]
    for sae in content["saes"]:
        if "layers" in sae:
            sae["layers"] = LAYER
        if sae["source"] == "pretrained":
            del sae["release"], sae["id"]
            sae |= frozen(folder, sae["name"].split("-")[0])
        if sae["source"] == "trained":
            sae |= SHORT
        if sae["source"] == "pruned":
            sae["tokens"] = 256
    data = {"text": "stories.txt", "tokens": 300, "context": 24, "calibration": {"sequences": 8, "context": 16}}
    content["data"] = data | ({"probing": [LABELLED]} if "probing" in content["data"] else {})
    file = folder / "suite.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return file


def run(name: str, model_type: str, frozen: Callable[[Path, str], dict[str, Any]], folder: Path) -> dict[str, Record]:
    """What the grid left behind, by `compressor/sae`; nothing of it may be missing or failed."""
    make_world(folder, model_type, WIDE)
    write_rows(folder / "said.jsonl", documents(160))
    planned = plan.make(suite.load(str(twin(name, folder, frozen))))
    finished = saetransfer(folder, "run", "suite.yaml", "--out", "out")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    found = store.read_all([folder / "out"]).records
    assert {record.cell_id for record in found} == {cell.cell_id for cell in planned.cells}
    for record in found:
        assert record.status == "ok", record.error
        assert record.cell_id == cell_id_of(record.spec)
    return {f"{record.labels.compressor}/{record.labels.sae}": record for record in found}


def value(record: Record, metric: str) -> float:
    found = record.metrics[metric].value
    assert found is not None, record.metrics[metric].reason
    return found


def check_the_papers_grid(found: dict[str, Record], suffix: str) -> None:
    """Every kind of SAE at every site of every state is what the paper says it is."""
    for compressor in ("dense", "wanda-50", "bnb-int8", "bnb-nf4"):
        for kind, hook in HOOKS.items():
            cells = {
                variant: found[f"{compressor}/{kind}{variant}{suffix}"]
                for variant in ("", "-native", "-pruned25", "-pruned50", "-pruned75", "-random")
            }
            for variant, record in cells.items():
                assert record.spec.site == f"blocks.{LAYER}.{hook}", (compressor, kind, variant)
                assert value(record, "perplexity.ce_state") == value(cells[""], "perplexity.ce_state")
            trained, kept = cells["-native"].sae, [cells[f"-pruned{share}"].sae for share in (25, 50, 75)]
            assert trained is not None and trained["cost"]["tokens"] == 512
            assert cells[""].sae is not None and cells[""].sae["cost"]["flops"] == 0
            nonzero = [cells[""].sae["nonzero_parameters"], *(sae["nonzero_parameters"] for sae in kept if sae)]
            assert len(nonzero) == 4 and nonzero == sorted(nonzero, reverse=True) and len(set(nonzero)) == 4
            survived = value(cells[""], "overlap.survived")
            assert survived == 1.0 if compressor == "dense" else survived <= 1.0
            if compressor == "dense":
                assert value(cells[""], "perplexity.transfer_gap") == 0.0


@pytest.mark.slow
def test_the_papers_grid_on_gpt2(tmp_path: Path) -> None:
    found = run("paper-gpt2", "gpt2", of_gpt2, tmp_path)
    assert len(found) == 4 * 3 * 6
    check_the_papers_grid(found, f"-{LAYER}")
    for record in found.values():
        assert record.spec.data["bos"] is ("attn" in record.labels.sae), "each as it was trained"
        if record.labels.sae.startswith(("resid-native", "mlp-native")):
            assert value(record, "reconstruction.l0") == pytest.approx(4, abs=0.5)
            assert record.cell_id not in unmatched(found.values())


@pytest.mark.slow
def test_the_papers_grid_on_gemma_2(tmp_path: Path) -> None:
    found = run("paper-gemma2", "gemma2", of_gemma, tmp_path)
    assert len(found) == 4 * 3 * 6
    check_the_papers_grid(found, "")
    for record in found.values():
        assert value(record, "probing.accuracy_all") > 0.5
        assert any(name.startswith("perturbation.") for name in record.metrics)
        assert any(name.startswith("absorption.") for name in record.metrics)
        assert record.sae is not None and any("1024" in note for note in record.sae["notes"])


def test_survival_of_features_on_pythia(tmp_path: Path) -> None:
    found = run("survival", "gpt_neox", of_pythia, tmp_path)
    assert len(found) == 10 * 2
    survived = [value(found[f"{state}/resid-{LAYER}"], "overlap.survived") for state in ("dense", "rtn-8", "rtn-4")]
    assert survived[0] == 1.0 and survived[0] >= survived[1] >= survived[2]
    assert all(record.spec.data["bos"] is False for record in found.values())
