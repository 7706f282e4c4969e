"""Cells of SAEs that were trained on processed weights: measured as they were trained, on every state."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from saetransfer.registry.saes.folder import save
from saetransfer.registry.saes.processing import values_of
from saetransfer.registry.sites import Site
from tests.bench.test_state import Runner
from tests.bench.world import make_world
from tests.registry.saes.common import sae_of

HEADS, STREAM = Site(1, "attn_z"), Site(1, "resid_post")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    world = make_world(tmp_path_factory.mktemp("pretrained"), "gpt2")
    model = AutoModelForCausalLM.from_pretrained(world / "model").eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(world / "model")
    sae = sae_of("standard", hook_name=HEADS.name)
    save(sae, world / "heads")
    sae.b_dec.add_(values_of(model, HEADS, "bias and norm"))
    save(sae, world / "heads-by-hand")
    for normalisation in ("none", "layer_norm"):
        save(sae_of("topk", hook_name=STREAM.name, normalize_activations=normalisation), world / normalisation)

    def frozen(name: str, path: str, processed: bool) -> dict[str, object]:
        return {"name": name, "source": "pretrained", "path": path, "processed": processed}

    return Runner(
        world,
        compressors=["dense", "magnitude-50"],
        saes=[
            frozen("heads", "heads", True),
            frozen("heads-by-hand", "heads-by-hand", False),
            frozen("centred", "none", True),
            frozen("as-it-is", "none", False),
            frozen("norm", "layer_norm", True),
            frozen("norm-too", "layer_norm", False),
        ],
    )


def figures(measured: Runner, cell: str) -> dict[str, float]:
    """The figures that have a value."""
    found = measured.records[cell].metrics
    return {name: figure.value for name, figure in found.items() if figure.value is not None}


@pytest.mark.parametrize("compressor", ["dense", "magnitude-50"])
@pytest.mark.parametrize(("one", "other"), [("heads", "heads-by-hand"), ("norm", "norm-too")])
def test_what_was_folded_is_that_of_the_dense_model(measured: Runner, compressor: str, one: str, other: str) -> None:
    """A frozen SAE stays the same measure on every state. (A layer norm takes the mean off, centred before or not.)"""
    expected = figures(measured, f"{compressor}/{other}")
    assert figures(measured, f"{compressor}/{one}") == pytest.approx(expected, abs=1e-4, rel=1e-3)


def test_centring_is_no_detail(measured: Runner) -> None:
    centred, as_it_is = (figures(measured, f"dense/{name}")["reconstruction.mse"] for name in ("centred", "as-it-is"))
    assert centred != pytest.approx(as_it_is, rel=1e-2)


def test_a_record_notes_what_was_read_otherwise(measured: Runner) -> None:
    sae = measured.records["dense/heads"].sae
    assert sae is not None and sae["notes"] == [
        "trained on contexts of 128 tokens, read on windows of up to 24: its later positions are not measured"
    ]
