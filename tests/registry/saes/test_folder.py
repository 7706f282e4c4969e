"""SAEs in SAELens' folders: what is saved is what is loaded, and what is broken is refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens import SAE
from sae_lens.loading.pretrained_sae_loaders import handle_config_defaulting
from safetensors.torch import load_file, save_file

from saetransfer.registry.errors import RegistryError
from saetransfer.registry.saes.config import parse_config
from saetransfer.registry.saes.folder import clone, load_folder, read_config, save
from tests.registry.saes.common import ARCHITECTURES, D_IN, D_SAE, SITE, known_features, sae_of, saved


@pytest.mark.parametrize("normalisation", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_sae_comes_back_from_its_folder_to_the_bit(architecture: str, normalisation: str, tmp_path: Path) -> None:
    sae, x = sae_of(architecture, normalize_activations=normalisation), known_features(50)
    save(sae, tmp_path)
    back = load_folder(tmp_path)
    assert torch.equal(back.encode(x), sae.encode(x))
    assert torch.equal(back(x), sae(x))
    assert not back.training and not any(parameter.requires_grad for parameter in back.parameters())


def test_an_sae_of_attention_heads_reads_them_side_by_side(tmp_path: Path) -> None:
    sae = sae_of("standard", hook_name="blocks.1.attn.hook_z", reshape_activations="hook_z")
    save(sae, tmp_path)
    x = known_features(6).reshape(2, 3, D_IN)
    assert load_folder(tmp_path)(x).shape == x.shape
    by_head = SAE.load_from_disk(tmp_path)
    assert torch.equal(by_head(x.reshape(2, 3, 4, D_IN // 4)).reshape(x.shape), load_folder(tmp_path)(x))


def test_half_precision_weights_are_read_in_float32(tmp_path: Path) -> None:
    sae_of("standard").to(dtype=torch.float16).save_model(tmp_path)
    sae = load_folder(tmp_path)
    assert sae.W_enc.dtype == torch.float32 and sae.cfg.dtype == "float32"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_clone_shares_no_memory(architecture: str) -> None:
    sae, x = sae_of(architecture), known_features(20)
    before = sae(x)
    copy = clone(sae)
    assert torch.equal(copy(x), before)
    copy.W_enc.zero_()
    copy.cfg.metadata.hook_name = "elsewhere"
    assert torch.equal(sae(x), before) and sae.cfg.metadata.hook_name == SITE


OLD = {"d_in": D_IN, "d_sae": D_SAE, "dtype": "torch.float32", "model_name": "gpt2-small", "device": "cpu"}


@pytest.mark.parametrize(
    "raw",
    [
        {**OLD, "hook_point": SITE, "context_size": 64, "normalize_activations": False},
        {**OLD, "hook_name": SITE, "prepend_bos": False, "architecture": "gated", "normalize_activations": None},
        {**OLD, "hook_name": SITE, "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}},
        {**OLD, "hook_name": "blocks.1.attn.hook_z", "normalize_activations": "layer_norm"},
        {**OLD, "hook_name": SITE, "architecture": "jumprelu", "apply_b_dec_to_input": False, "sae_lens_version": "3"},
    ],
)
def test_old_formats_mean_what_saelens_takes_them_for(raw: dict[str, Any]) -> None:
    ours, theirs = parse_config(raw, "it"), handle_config_defaulting(dict(raw))
    for key in ("architecture", "d_in", "d_sae", "apply_b_dec_to_input", "reshape_activations"):
        assert getattr(ours, key) == theirs[key], key
    for key in ("hook_name", "context_size", "model_name"):
        assert getattr(ours, key) == theirs["metadata"].get(key), key
    assert ours.prepend_bos is theirs["metadata"]["prepend_bos"]
    assert (ours.normalize_activations, ours.k) == (theirs["normalize_activations"], theirs.get("k"))


def test_an_old_folder_loads(tmp_path: Path) -> None:
    sae = sae_of("topk")
    save(sae, tmp_path)
    old = {**OLD, "hook_point": SITE, "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}}
    (tmp_path / "cfg.json").write_text(json.dumps(old))
    x = known_features(20)
    assert torch.equal(load_folder(tmp_path)(x), sae(x))
    assert read_config(tmp_path).hook_name == SITE


def changed(**changes: Any) -> dict[str, Any]:
    """A cfg.json with changes; None takes a key away."""
    raw = {"architecture": "topk", "k": 4, "d_in": D_IN, "d_sae": D_SAE, "metadata": {"hook_name": SITE}, **changes}
    return {key: value for key, value in raw.items() if value is not None}


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (changed(d_in=None), "'d_in' is missing"),
        (changed(d_sae="many"), "'d_sae' is 'many', a positive whole number is needed"),
        (changed(architecture="skip_transcoder"), "is a skip_transcoder: it reads one place of the model and predicts"),
        (changed(metadata={"hook_name": SITE, "hook_name_out": "blocks.2.hook_mlp_out"}), "a transcoder"),
        (changed(architecture="topkk"), "Unknown SAE architecture 'topkk'. Did you mean 'topk'?"),
        (changed(k=None), "a topk SAE without a whole number 'k'"),
        (changed(metadata={"hook_head_index": 3}), "reads attention head 3 alone"),
        (changed(normalize_activations="expected_average_only_in"), "fold_activation_norm_scaling_factor"),
        (changed(normalize_activations=True), "fold_activation_norm_scaling_factor"),
        (changed(normalize_activations="layernorm"), "Did you mean 'layer_norm'?"),
    ],
)
def test_a_foreign_description_is_refused_with_the_reason(raw: dict[str, Any], text: str) -> None:
    with pytest.raises(RegistryError) as refused:
        parse_config(raw, "The SAE")
    assert text in str(refused.value)


def test_broken_folders_are_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="There is no folder"):
        read_config(tmp_path / "nowhere")
    with pytest.raises(RegistryError, match=r"has no cfg.json; it holds nothing"):
        read_config(tmp_path)
    folder = saved(tmp_path / "sae")
    config, weights = folder / "cfg.json", folder / "sae_weights.safetensors"
    whole_config, whole_weights = config.read_text(), weights.read_bytes()
    for text, message in ((whole_config[:40], "no complete JSON"), ("[1]", "holds a list")):
        config.write_text(text)
        with pytest.raises(RegistryError, match=message):
            read_config(folder)
    config.write_text(whole_config)
    weights.write_bytes(whole_weights[:-100])
    with pytest.raises(RegistryError, match="cannot be read"):
        read_config(folder)
    weights.unlink()
    with pytest.raises(RegistryError, match=r"has no sae_weights.safetensors; it holds cfg.json"):
        read_config(folder)


def test_weights_that_do_not_fit_their_description_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    weights = folder / "sae_weights.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "W_enc": tensors["W_enc"][:, :8].contiguous()}, weights)
    with pytest.raises(RegistryError, match=r"'W_enc' has shape \[32, 8\], but its description makes it \[32, 64\]"):
        read_config(folder)
    save_file({key: value for key, value in tensors.items() if key != "b_enc"}, weights)
    with pytest.raises(RegistryError, match="no tensor 'b_enc', which a topk SAE needs"):
        read_config(folder)
