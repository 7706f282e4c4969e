"""SAEs of models as TransformerLens processes them: the same activations, latents and reconstructions as there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens import SAE
from torch import Tensor
from transformer_lens import HookedTransformer
from transformers import PreTrainedModel

from saetransfer.registry import sites
from saetransfer.registry.errors import RegistryError
from saetransfer.registry.families import family_of
from saetransfer.registry.saes.build import load_folder, make, save, value_offset
from saetransfer.registry.saes.entry import SaeEntry
from saetransfer.registry.saes.inputs import reconstruct
from saetransfer.registry.saes.processing import PROCESSED, UNPROCESSED, Processing, values_of
from saetransfer.registry.saes.pruned import PrunedParams, Pruning
from saetransfer.registry.saes.resolve import resolve
from saetransfer.registry.sites import Site
from tests.lens import RAW, cached, hooked
from tests.registry.saes.common import ARCHITECTURES, sae_of
from tests.toys import MODEL_TYPES, toy_config, toy_model, toy_tokens

TOKENS = toy_tokens()
FAMILIES = MODEL_TYPES
"""LayerNorm with biases in one layer, head by head and not at all; RMSNorm with biases and without; post-norms."""
OPTIONS: dict[str, dict[str, Any]] = {
    "raw": RAW,
    "processed": {},
    "centred": {**RAW, "center_writing_weights": True},
    "biases folded": {**RAW, "fold_value_biases": True},
}
SITES = [Site(layer, kind) for layer in (0, 2) for kind in ("resid_pre", "resid_post", "mlp_out", "attn_z")]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    """A toy whose biases and norms matter."""
    toy = toy_model(request.param)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in toy.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return toy


@pytest.fixture(scope="module", params=OPTIONS)
def lens(request: pytest.FixtureRequest, model: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return request.param, hooked(model, tmp_path_factory.mktemp("lens"), **OPTIONS[request.param])


def processing_of(name: str) -> Processing:
    if name == "processed":
        return PROCESSED
    return Processing(center_writing_weights=name == "centred", fold_value_biases=name == "biases folded")


@torch.no_grad()
def test_what_transformer_lens_reads_is_what_we_say(
    model: PreTrainedModel, lens: tuple[str, HookedTransformer]
) -> None:
    name, transformer = lens
    processing, family = processing_of(name), family_of(model.config)
    for site in SITES:
        ours = sites.read(model, TOKENS, [site])[site]
        if processing.centres(site, family):
            ours = ours - ours.mean(dim=-1, keepdim=True)
        if (offset := processing.value_offset(site, family)) is not None:
            ours = ours - values_of(model, site, offset)
        torch.testing.assert_close(ours, cached(transformer, TOKENS, site), atol=1e-5, rtol=1e-5, msg=f"{site}")


def trained_on(
    site: Site, model: PreTrainedModel, folder: Path, architecture: str = "jumprelu", **config: Any
) -> SAE[Any]:
    """An SAE of that site in a folder; the one that is returned is to be used as SAELens would."""
    width = site.width(model.config)
    sae = sae_of(architecture, hook_name=site.name, d_in=width, **config)
    save(sae, folder)
    return sae


def resolved(model: PreTrainedModel, folder: Path, **more: Any) -> SaeEntry:
    definition = {"name": "it", "source": "pretrained", "path": str(folder), **more}
    return resolve(definition, folder=Path(), named={}, config=model.config)


@torch.no_grad()
def test_a_reconstruction_is_the_one_of_its_training(
    model: PreTrainedModel, lens: tuple[str, HookedTransformer], tmp_path: Path
) -> None:
    """What is written back, as TransformerLens sees it, is what the SAE gives on TransformerLens' activations."""
    name, transformer = lens
    for index, site in enumerate(SITES):
        folder = tmp_path / str(index)
        sae = trained_on(site, model, folder, apply_b_dec_to_input=bool(index % 2))
        described = json.loads((folder / "cfg.json").read_text())
        described["metadata"]["model_from_pretrained_kwargs"] = OPTIONS[name]
        (folder / "cfg.json").write_text(json.dumps(described))
        entry = resolved(model, folder, **({"processed": True} if name == "processed" else {}))
        loaded = make(entry, offset=value_offset(entry, model)).sae
        theirs, ours = cached(transformer, TOKENS, site), sites.read(model, TOKENS, [site])[site]
        latents = loaded.encode(ours)
        torch.testing.assert_close(latents, sae.encode(theirs), atol=1e-5, rtol=1e-5)
        error = reconstruct(loaded, latents, ours) - ours
        torch.testing.assert_close(error, sae(theirs) - theirs, atol=1e-5, rtol=1e-5)


CENTRED = {"center_writing_weights": True}


@pytest.mark.parametrize("normalisation", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_every_architecture_reads_a_centred_stream(architecture: str, normalisation: str, tmp_path: Path) -> None:
    model, site = toy_model("gpt2"), Site(1, "resid_post")
    sae = trained_on(site, model, tmp_path, architecture, normalize_activations=normalisation)
    loaded = make(resolved(model, tmp_path, processed=True)).sae
    x = sites.read(model, TOKENS, [site])[site]
    mean = x.mean(dim=-1, keepdim=True)
    torch.testing.assert_close(loaded.encode(x), sae.encode(x - mean), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loaded(x), sae(x - mean) + mean, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("apply_b_dec_to_input", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_every_architecture_reads_heads_without_value_biases(
    architecture: str, apply_b_dec_to_input: bool, tmp_path: Path
) -> None:
    model, site = toy_model("qwen2"), Site(1, "attn_z")
    sae = trained_on(site, model, tmp_path, architecture, apply_b_dec_to_input=apply_b_dec_to_input)
    entry = resolved(model, tmp_path, processed=True)
    with pytest.raises(TypeError, match="needs the values of the dense model"):
        make(entry)
    offset = torch.randn(site.width(model.config), generator=torch.Generator().manual_seed(3))
    loaded = make(entry, offset=offset).sae
    x = sites.read(model, TOKENS, [site])[site]
    torch.testing.assert_close(loaded.encode(x), sae.encode(x - offset), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loaded(x), sae(x - offset) + offset, atol=1e-5, rtol=1e-5)
    save(loaded, tmp_path / "again")  # an SAE of the model as it is, for anybody
    alone = SAE.load_from_disk(tmp_path / "again")
    alone.turn_off_forward_pass_hook_z_reshaping()
    assert torch.equal(alone(x), loaded(x))
    assert resolved(model, tmp_path / "again").identity()["params"].get("value_offset") is None


@torch.no_grad()
def test_what_is_made_from_an_sae_of_a_centred_stream_reads_as_it_does(tmp_path: Path) -> None:
    model, site = toy_model("gpt2"), Site(1, "resid_post")
    sae = trained_on(site, model, tmp_path / "sae", normalize_activations="constant_norm_rescale")
    x = sites.read(model, TOKENS, [site])[site]
    found = resolved(model, tmp_path / "sae", processed=True)
    loaded = make(found).sae
    entry = replace(found, source="pruned", params=PrunedParams(method="magnitude", sparsity=0.0))
    pruned = Pruning(entry, loaded).finish()
    assert torch.equal(pruned(x), loaded(x))
    save(pruned, tmp_path / "pruned")
    assert torch.equal(load_folder(tmp_path / "pruned")(x), loaded(x))
    again = resolved(model, tmp_path / "pruned")
    assert torch.equal(make(again).sae(x), loaded(x))
    # Others find a usual SAE of SAELens, and the model that it asks for.
    described = json.loads((tmp_path / "pruned" / "cfg.json").read_text())["metadata"]
    assert described["model_from_pretrained_kwargs"] == CENTRED
    assert torch.equal(sae.W_enc, pruned.W_enc)


def test_where_nothing_was_changed_nothing_is_done() -> None:
    """RMSNorm sees the mean, so TransformerLens does not centre; heads never are; no values without biases."""
    for model_type, kind in (("llama", "resid_post"), ("gemma2", "mlp_out"), ("gpt2", "attn_z")):
        config, site = toy_config(model_type), Site(1, kind)
        assert not PROCESSED.centres(site, family_of(config))
    values = values_of(toy_model("llama"), Site(1, "attn_z"), "bias")
    assert torch.equal(values, torch.zeros(32))
    assert UNPROCESSED.value_offset(Site(1, "attn_z"), family_of(toy_config("gpt2"))) is None


def test_what_cannot_be_read_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    model, heads = toy_model("gpt2"), Site(1, "attn_z")
    sae = sae_of("standard", hook_name=heads.name)
    sae.cfg.metadata.model_from_pretrained_kwargs = {"refactor_factored_attn_matrices": True}
    save(sae, tmp_path / "basis")
    with pytest.raises(RegistryError, match="SAE 'it': it was trained on .* another basis"):
        resolved(model, tmp_path / "basis")
    trained_on(heads, model, tmp_path / "norm", normalize_activations="layer_norm")
    with pytest.raises(RegistryError, match=r"taken the value biases off.*`processed: false`"):
        resolved(model, tmp_path / "norm", processed=True)


def test_identity_knows_what_was_done_to_the_model(tmp_path: Path) -> None:
    model = toy_model("gpt2")
    trained_on(Site(1, "resid_post"), model, tmp_path)
    raw, processed = resolved(model, tmp_path), resolved(model, tmp_path, processed=True)
    assert raw.identity() != processed.identity()
    assert raw.identity() == resolved(model, tmp_path, processed=False).identity()


@torch.no_grad()
def test_readings_of_other_activations_in_between_do_not_matter(tmp_path: Path) -> None:
    """SAELens keeps the last token's norm for the next decoding: with two readings it would be the wrong one."""

    def norms(x: Tensor) -> Tensor:
        return x * torch.linspace(0.5, 2, x.shape[0])[:, None]

    generator = torch.Generator().manual_seed(0)
    state, dense = torch.randn(7, 32, generator=generator), norms(torch.randn(9, 32, generator=generator))
    for normalisation in ("none", "layer_norm", "constant_norm_rescale"):
        sae = sae_of("standard", normalize_activations=normalisation)
        expected = sae(state)
        latents = sae.encode(state)
        sae.encode(dense)
        assert torch.equal(reconstruct(sae, latents, state), expected)
        assert torch.equal(reconstruct(sae, latents, state), expected), "as often as wanted"
