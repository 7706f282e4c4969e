"""`saetransfer sae train|finetune|prune`: one SAE outside a suite, the same that a suite would make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from sae_lens import SAE

from saetransfer.bench.commands.stored import stored
from saetransfer.bench.planning import plan, suite
from saetransfer.bench.running import artifacts
from saetransfer.bench.running.artifacts import Artifacts
from saetransfer.bench.running.supply import Supply
from tests.bench.command import Finished, saetransfer
from tests.bench.world import write_suite

SITE = "blocks.1.hook_resid_post"
ON_TEXT = ("--text", "stories.txt", "--context", "24")
SHORT = ("--set", "tokens=512", "--set", "batch_size=64")
PRUNE = ("prune", "model", "--base", "sae", "--method")
FINETUNE = ("finetune", "model", "--base", "sae", *ON_TEXT, *SHORT)
TRAIN = ("train", "model", "--site", SITE, "--architecture", "topk", "--d-sae", "48", "--set", "k=4", *ON_TEXT, *SHORT)


def make(world: Path, *arguments: str, out: str = "mine") -> tuple[SAE[Any], str]:
    run = saetransfer(world, "sae", *arguments, "--out", out)
    assert run.returncode == 0, run.stdout + run.stderr
    return SAE.load_from_disk(world / out), run.stdout


def refused(world: Path, *arguments: str) -> Finished:
    run = saetransfer(world, "sae", *arguments)
    assert run.returncode == 2, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    assert not run.stdout
    return run


def weights(sae: SAE[Any]) -> dict[str, torch.Tensor]:
    return dict(sae.state_dict())


def in_a_suite(world: Path, definition: dict[str, Any], compressors: list[str]) -> Path | None:
    """Where the cache has the SAE of a suite on its last state, if it has."""
    saes = [{"name": "frozen", "source": "pretrained", "path": "sae"}, {"name": "made", **definition}]
    planned = plan.make(suite.load(str(write_suite(world, compressors=compressors, saes=saes))))
    state = planned.states[-1]
    kept = Artifacts(world / "cache")
    cell = state.cells[-1]
    return kept.find(Supply(planned, state, kept, "cpu").saes(cell.prepend_bos).key(cell.sae))


def test_a_trained_sae_is_what_was_asked_for(world: Path) -> None:
    sae, output = make(world, *TRAIN)
    assert (sae.cfg.architecture(), sae.cfg.d_in, sae.cfg.d_sae, sae.cfg.k) == ("topk", 32, 48, 4)
    assert sae.cfg.metadata.hook_name == SITE
    assert f"mine: trained topk SAE at {SITE} of model/dense" in output
    assert "32 channels, 48 latents" in output
    assert "512 tokens, 8 steps" in output
    lines = yaml.safe_load(output[output.index("saes:") :])
    assert lines == {"saes": [{"name": "mine", "source": "pretrained", "path": "mine"}]}
    (world / "pasted.yaml").write_text(yaml.safe_dump(lines), encoding="utf-8")
    planned = plan.make(suite.load(str(write_suite(world, saes=lines["saes"]))))
    assert planned.cells[0].sae.d_sae == 48


def test_what_it_makes_is_what_a_suite_finds(world: Path) -> None:
    make(world, *TRAIN, out="trained")
    definition = {"source": "trained", "site": SITE, "architecture": "topk", "d_sae": 48, "k": 4}
    short = {"tokens": 512, "batch_size": 64}
    found = in_a_suite(world, {**definition, **short, "on": "dense"}, ["dense"])
    assert found is not None
    assert (found / "sae_weights.safetensors").read_bytes() == (
        world / "trained" / "sae_weights.safetensors"
    ).read_bytes()
    make(world, *FINETUNE, "--compressor", "wanda-50", out="tuned")
    assert in_a_suite(world, {"source": "finetuned", "base": "frozen", **short}, ["dense", "wanda-50"]) is not None


def test_one_that_is_in_the_cache_is_only_copied(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sae, output = make(world, *FINETUNE, "--compressor", "magnitude-50")
    monkeypatch.setattr("saetransfer.registry.models.load", lambda *_: pytest.fail("the model is not needed"))
    again, output_again = make(world, *FINETUNE, "--compressor", "magnitude-50", out="again")
    assert output_again == output.replace("mine", "again")
    assert all(torch.equal(weights(sae)[name], weight) for name, weight in weights(again).items())


def test_a_state_makes_another_sae_than_the_dense_model(world: Path) -> None:
    dense, _ = make(world, *FINETUNE, out="dense")
    state, output = make(world, *FINETUNE, "--compressor", "rtn-3", out="state")
    assert "of model/rtn-3" in output
    assert not torch.equal(dense.W_enc, state.W_enc)


def test_a_pruned_sae_has_the_sparsity_and_needs_no_text(world: Path) -> None:
    sae, output = make(world, *PRUNE, "magnitude", "--sparsity", "0.5")
    base = SAE.load_from_disk(world / "sae")
    assert (sae.W_enc == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert torch.equal(sae.W_enc[sae.W_enc != 0], base.W_enc[sae.W_enc != 0])
    assert "0 tokens, 0 steps" in output
    half, _ = make(world, *PRUNE, "contribution", "--sparsity", "0.5", *ON_TEXT, "--set", "tokens=300", out="half")
    assert half.cfg.d_sae == 32


def test_an_l0_that_is_to_be_matched_is_told(world: Path) -> None:
    _, output = make(world, "train", "model", "--like", "sae", "--set", "match_l0=true", *ON_TEXT, *SHORT)
    assert "to be matched: 8.0" in output


def test_a_base_may_be_written_as_a_suite_does(world: Path) -> None:
    base = "{path: sae, site: blocks.0.hook_resid_post}"
    sae, _ = make(world, "prune", "model", "--base", base, "--method", "int8")
    assert sae.cfg.d_sae == 64
    assert (
        "site"
        in refused(world, "prune", "model", "--base", "{path: sae, sight: x}", "--method", "int8", "--out", "x").stderr
    )


def test_a_folder_that_is_not_empty_is_overwritten_only_by_force(world: Path) -> None:
    out = world / "mine"
    out.mkdir()
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    assert "--force" in refused(world, *PRUNE, "int8", "--out", "mine").stderr
    assert [file.name for file in out.iterdir()] == ["notes.txt"]
    make(world, *PRUNE, "int8", "--force")
    make(world, *PRUNE, "magnitude", "--sparsity", "0.25", "--force")
    sae, _ = make(world, *PRUNE, "magnitude", "--sparsity", "0.75", "--force")
    assert (sae.W_enc == 0).float().mean().item() == pytest.approx(0.75, abs=0.02)
    assert sorted(file.name for file in out.iterdir()) == ["cfg.json", "notes.txt", "sae_weights.safetensors"]


def test_nothing_unfinished_is_left(world: Path) -> None:
    make(world, *FINETUNE)
    assert [one.kind for one in stored(world / "cache")] == ["sae"]
    assert not list((world / "cache" / artifacts.UNFINISHED).iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*TRAIN, "--set", "kk=3"), "Did you mean 'k'?"),
        ((*TRAIN, "--set", "architecture=topp"), "Did you mean 'topk'?"),
        ((*TRAIN, "--set", "source=pruned"), "'source' is said by another command"),
        ((*TRAIN, "--set", "data.contxt=3"), "Did you mean 'context'?"),
        ((*TRAIN, "--set", "data.calibration.sequences=none"), "--set data.calibration.sequences=none"),
        (("train", "model", *ON_TEXT), "needs site, architecture, d_sae"),
        (("train", "model", "--like", "sae"), "--text is needed"),
        (("train", "modle", "--like", "sae", *ON_TEXT), "MODEL: Unknown model 'modle'"),
        (("train", "model", "--like", "sae", "--text", "x.txt"), "--text: Text 'x.txt'"),
        (
            ("train", "model", "--like", "sae", "--text", "stories.txt", "--context", "9999"),
            "--context: windows of 9999",
        ),
        ((*FINETUNE, "--compressor", "wnada-50"), "Did you mean 'wanda-50'?"),
        ((*FINETUNE, "--compressor", "rtn-3", "--set", "on=dense"), "--set on=state"),
        ((*PRUNE, "magnitude", "--sparsity", "0.5", "--compressor", "rtn-3"), "would be the same without it"),
        ((*PRUNE, "magnitude", "--sparsity", "1"), "not including, 1"),
        ((*PRUNE, "wanda"), "needs 'sparsity'"),
        (("prune", "model", "--base", "nowhere", "--method", "int8"), "nowhere"),
        (("prune", "model", "--base", "{path: ", "--method", "int8"), "no YAML"),
        (("prune", "microworld", "--base", "sae", "--method", "int8"), "reads 32 channels"),
        ((*PRUNE, "int8", "--device", "gpu"), "no such device"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_mistake_is_exit_code_2_and_nothing_is_written(world: Path, arguments: tuple[str, ...], said: str) -> None:
    before = sorted(world.iterdir())
    assert said in refused(world, *arguments, "--out", "mine").stderr
    assert sorted(world.iterdir()) == before


def test_a_compressor_that_leaves_the_model_as_it_is_makes_no_sae(world: Path) -> None:
    (world / "mine.py").write_text("def nothing(model, calibration):\n    return model\n", encoding="utf-8")
    said = refused(world, *FINETUNE, "--compressor", "mine.py:nothing", "--out", "mine").stderr
    assert "Not compressed as promised" in said
    assert not stored(world / "cache")


def test_their_help_needs_no_heavy_import() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from saetransfer.bench.cli import app\n"
        "for command in ('sae', 'sae train', 'sae finetune', 'sae prune', 'artifacts'):\n"
        "    assert CliRunner().invoke(app, [*command.split(), '--help']).exit_code == 0\n"
        "print(sorted({'torch', 'transformers', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
