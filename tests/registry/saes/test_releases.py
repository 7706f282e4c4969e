"""Releases of SAELens, with a hub of files on disk: what is said of them, what is not, and what is refused unseen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.utils import EntryNotFoundError
from jaxtyping import Float
from sae_lens import SAE
from sae_lens.loading import pretrained_sae_loaders
from sae_lens.loading.pretrained_saes_directory import get_norm_scaling_factor, get_pretrained_saes_directory
from safetensors.torch import save_file
from torch import Tensor

from saetransfer.registry import sites
from saetransfer.registry.errors import Impossible, RegistryError
from saetransfer.registry.models import resolve as resolve_model
from saetransfer.registry.saes import releases
from saetransfer.registry.saes.build import make, value_offset
from saetransfer.registry.saes.cards import CARDS
from saetransfer.registry.saes.entry import SaeEntry
from saetransfer.registry.saes.notes import notes
from saetransfer.registry.saes.processing import values_of
from saetransfer.registry.saes.resolve import resolve
from saetransfer.registry.sites import Site
from tests.registry.saes.common import D_IN, D_SAE, sae_of, saved
from tests.toys import toy_config, toy_model, toy_tokens


@pytest.fixture
def whole_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the hub: `owner/name/file`."""

    def download(repo_id: str, filename: str, **_: Any) -> str:
        file = tmp_path / repo_id / filename
        if not file.is_file():
            raise EntryNotFoundError(f"{file} is not there")
        return str(file)

    monkeypatch.setattr(pretrained_sae_loaders, "hf_hub_download", download)
    return tmp_path


@pytest.fixture
def hub(whole_hub: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One of toys, which are not as wide as is stated of real releases."""
    monkeypatch.setattr(releases, "stated", lambda *_: None)
    return whole_hub


def publish(hub: Path, release: str, sae_id: str, hook_name: str, **cfg: Any) -> SAE[Any]:
    """Put an SAE where SAELens looks for that one; returns it as it was in training, before any scaling is folded."""
    found = get_pretrained_saes_directory()[release]
    folder = hub / found.repo_id / found.saes_map[sae_id]
    sae = sae_of("standard")
    folder.mkdir(parents=True)
    save_file(sae.state_dict(), folder / "sae_weights.safetensors")
    described = {"d_in": D_IN, "d_sae": D_SAE, "dtype": "torch.float32", "hook_point": hook_name, "model_name": "gpt2"}
    (folder / "cfg.json").write_text(json.dumps({**described, "context_size": 128, "prepend_bos": True, **cfg}))
    return sae


def resolved(release: str, sae_id: str, model_type: str = "gpt2", **more: Any) -> SaeEntry:
    definition = {"name": "it", "source": "pretrained", "release": release, "id": sae_id, **more}
    return resolve(definition, folder=Path(), named={}, config=toy_config(model_type))


@torch.no_grad()
def read(model_type: str, site: Site) -> Float[Tensor, "batch position channel"]:
    return sites.read(toy_model(model_type), toy_tokens(), [site])[site]


def centred(x: Tensor) -> Tensor:
    return x - x.mean(dim=-1, keepdim=True)


def test_a_release_of_a_centred_stream(hub: Path) -> None:
    sae = publish(hub, "gpt2-small-res-jb", "blocks.1.hook_resid_pre", "blocks.1.hook_resid_pre")
    loaded = make(resolved("gpt2-small-res-jb", "blocks.1.hook_resid_pre")).sae
    x = read("gpt2", Site(1, "resid_pre"))
    torch.testing.assert_close(loaded.encode(x), sae.encode(centred(x)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loaded(x) - x, sae(centred(x)) - centred(x), atol=1e-5, rtol=1e-5)


def test_a_release_of_scaled_and_centred_outputs(hub: Path) -> None:
    """SAELens lists the factor by which its inputs were multiplied in training."""
    release, sae_id = "gpt2-small-mlp-tm", "blocks.1.hook_mlp_out"
    factor = get_norm_scaling_factor(release, sae_id)
    assert factor is not None
    sae = publish(hub, release, sae_id, sae_id, normalize_activations="expected_average_only_in")
    loaded = make(resolved(release, sae_id)).sae
    x = read("gpt2", Site(1, "mlp_out"))
    torch.testing.assert_close(loaded.encode(x), sae.encode(factor * centred(x)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(centred(loaded(x)), centred(sae(factor * centred(x)) / factor), atol=1e-4, rtol=1e-4)
    with pytest.raises(RegistryError, match="has its scaling factor in SAELens' list"):
        resolved(release, sae_id, norm_scaling_factor=2.0)


def test_a_release_whose_scaling_nobody_lists(hub: Path) -> None:
    release, sae_id = "gemma-2b-res-jb", "blocks.0.hook_resid_post"
    sae = publish(hub, release, sae_id, sae_id, normalize_activations="expected_average_only_in")
    with pytest.raises(RegistryError, match=r"does not say by how much.*`norm_scaling_factor: FACTOR`"):
        resolved(release, sae_id, "gemma")
    entry = resolved(release, sae_id, "gemma", norm_scaling_factor=0.5)
    x = read("gemma", Site(0, "resid_post"))
    torch.testing.assert_close(make(entry).sae.encode(x), sae.encode(0.5 * x), atol=1e-5, rtol=1e-5)
    assert entry.identity() != resolved(release, sae_id, "gemma", norm_scaling_factor=0.6).identity()


def test_a_folder_whose_scaling_the_suite_knows(tmp_path: Path) -> None:
    folder = saved(tmp_path, "jumprelu", normalize_activations="expected_average_only_in")
    definition = {"name": "it", "source": "pretrained", "path": str(folder), "norm_scaling_factor": "0.5"}
    entry = resolve(definition, folder=Path(), named={}, config=toy_config("llama"))
    sae, x = sae_of("jumprelu"), torch.randn(9, D_IN, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(make(entry).sae.encode(x), sae.encode(0.5 * x), atol=1e-5, rtol=1e-5)
    saved(tmp_path / "norm", normalize_activations="layer_norm")
    with pytest.raises(RegistryError, match=r"normalises its inputs by itself \(layer_norm\)"):
        resolve({**definition, "path": str(tmp_path / "norm")}, folder=Path(), named={}, config=toy_config("llama"))


def test_heads_of_a_model_whose_value_biases_were_folded(hub: Path) -> None:
    """SAELens says nothing of it; the release was trained on `HookedTransformer.from_pretrained`."""
    found = get_pretrained_saes_directory()["gpt2-small-hook-z-kk"]
    file = hub / found.repo_id / found.saes_map["blocks.1.hook_z"]
    file.parent.mkdir(parents=True)
    sae = sae_of("standard")
    torch.save(dict(sae.state_dict()), file)
    described = {"act_size": D_IN, "dict_size": D_SAE, "act_name": "blocks.1.attn.hook_z"}
    file.with_name(file.name.removesuffix(".pt") + "_cfg.json").write_text(json.dumps(described))
    entry, model = resolved("gpt2-small-hook-z-kk", "blocks.1.hook_z"), toy_model("gpt2")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(generator=torch.Generator().manual_seed(1))
        x = sites.read(model, toy_tokens(), [entry.site])[entry.site]
    loaded = make(entry, offset=value_offset(entry, model)).sae
    values = values_of(model, entry.site, "bias and norm")
    torch.testing.assert_close(loaded.encode(x), sae.encode(x - values), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(loaded(x), sae(x - values) + values, atol=1e-4, rtol=1e-4)
    untouched = resolved("gpt2-small-hook-z-kk", "blocks.1.hook_z", processed=False)
    assert torch.equal(make(untouched).sae.encode(x), sae.encode(x))


@pytest.mark.parametrize(
    ("release", "kind"),
    [
        ("gemma-scope-2b-pt-transcoders", "a transcoder"),
        ("mwhanna-qwen3-4b-transcoders", "a transcoder"),
        ("mntss-gemma-2-2b-2.5m-clt-as-per-layer", "a transcoder"),
        ("gemma-scope-2-4b-pt-transcoders", "a transcoder"),
        ("temporal-sae-gemma-2-2b", "a temporal SAE"),
    ],
)
def test_what_cannot_be_spliced_is_refused_before_anything_is_downloaded(release: str, kind: str, hub: Path) -> None:
    assert not any(hub.iterdir())
    with pytest.raises(RegistryError, match=f"is {kind}"):
        resolved(release, next(iter(get_pretrained_saes_directory()[release].saes_map)))


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_args: Any, **_kwargs: Any) -> str:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(pretrained_sae_loaders, "hf_hub_download", offline)


def test_without_network_a_suite_is_told_and_a_cell_skipped(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release, sae_id = "gpt2-small-res_sce-ajt", "blocks.2.hook_resid_pre"
    publish(hub, release, sae_id, sae_id)
    entry = resolved(release, sae_id)
    go_offline(monkeypatch)
    with pytest.raises(RegistryError, match="cannot be downloaded: no network"):
        resolved(release, sae_id)
    with pytest.raises(Impossible, match="'it' cannot be downloaded"):
        make(entry)


def test_reading_otherwise_than_in_training_is_noted(hub: Path) -> None:
    publish(hub, "gpt2-small-res-jb", "blocks.1.hook_resid_pre", "blocks.1.hook_resid_pre")
    entry = resolved("gpt2-small-res-jb", "blocks.1.hook_resid_pre")
    assert notes(entry, 128, True) == []
    longer, bos = notes(entry, 1024, False)
    assert longer == (
        "trained on contexts of 128 tokens, read on windows of up to 1024: positions beyond those are new to it"
    )
    assert bos == "trained with BOS, read without BOS"
    assert "its later positions are not measured" in notes(entry, 64, True)[0]


STATED = {
    "model_name": "gpt2-small",
    "d_in": 768,
    "d_sae": 32768,
    "activation_fn_str": "topk",
    "activation_fn_kwargs": {"k": 32},
}
TOPK = ("gpt2-small-resid-post-v5-32k", "blocks.1.hook_resid_post")


def of_gpt2(release: str, sae_id: str) -> SaeEntry:
    definition = {"name": "it", "source": "pretrained", "release": release, "id": sae_id}
    return resolve(definition, folder=Path(), named={}, config=resolve_model("gpt2", Path()).config)


def test_what_is_stated_of_a_release_is_what_the_hub_would_say(
    whole_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also: a suite that was planned without network has the ids of one that was planned with it."""
    told = {"normalize_activations": "layer_norm", "context_size": 64, "prepend_bos": False}
    publish(whole_hub, *TOPK, TOPK[1], **STATED, **told)
    reached = of_gpt2(*TOPK)
    go_offline(monkeypatch)
    assert of_gpt2(*TOPK).identity() == reached.identity()
    assert of_gpt2(*TOPK) == reached


def test_a_release_that_is_not_as_it_is_stated_is_refused(whole_hub: Path) -> None:
    publish(whole_hub, *TOPK, TOPK[1], **STATED, prepend_bos=True, context_size=64)
    with pytest.raises(
        RegistryError, match=r"normalize_activations layer_norm \(it is none\), prepend_bos False"
    ) as error:
        of_gpt2(*TOPK)
    assert "releases.yaml" in str(error.value)


def test_what_is_special_about_a_layer_is_stated_too(monkeypatch: pytest.MonkeyPatch) -> None:
    go_offline(monkeypatch)
    widths = {layer: of_gpt2("gpt2-small-hook-z-kk", f"blocks.{layer}.hook_z").d_sae for layer in range(12)}
    assert widths == dict.fromkeys(range(12), 24576) | {5: 49152, 7: 49152}
    # The names of its files say the same.
    files = get_pretrained_saes_directory()["gpt2-small-hook-z-kk"].saes_map
    assert all(f"_ds{widths[layer]}_" in files[f"blocks.{layer}.hook_z"] for layer in range(12))


@pytest.mark.parametrize("name", [name for name in CARDS if CARDS.get(name).release])
def test_every_card_of_a_release_can_be_planned_without_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    go_offline(monkeypatch)
    config = resolve_model(CARDS.get(name).model, Path()).config
    entry = resolve(name, folder=Path(), named={}, config=config)
    summary = CARDS.get(name).summary
    assert f"{entry.d_sae:,} latents ({entry.architecture})" in summary
    assert f"layer {entry.site.layer}" in summary
