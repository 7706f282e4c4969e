"""SAEs of other libraries: what each of them defines, written out, and what SAELens' own loaders make of the files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sae_lens import SAE
from sae_lens.loading import pretrained_sae_loaders as theirs
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import linear, relu

from saetransfer.registry.errors import RegistryError
from saetransfer.registry.saes.build import load_folder, make, save
from saetransfer.registry.saes.entry import SaeEntry
from saetransfer.registry.saes.folder import quiet
from saetransfer.registry.saes.inputs import reconstruct
from saetransfer.registry.saes.resolve import resolve
from saetransfer.registry.sites import Site
from tests.registry.saes.common import D_IN, D_SAE, SITE, K, known_features
from tests.toys import toy_config

X = known_features(20)
Library = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From activations to latents and reconstruction, as the library defines them."""


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def top(pre: Tensor) -> Tensor:
    """The K largest of `relu(pre)`."""
    kept = relu(pre).topk(K, dim=-1)
    return torch.zeros_like(pre).scatter_(-1, kept.indices, kept.values)


def gemma_scope(folder: Path, d_in: int = D_IN) -> Library:
    """arXiv 2408.05147, section 2: JumpReLU(x W_enc + b_enc), f W_dec + b_dec."""
    w = {"W_enc": draw(d_in, D_SAE), "W_dec": draw(D_SAE, d_in), "b_enc": draw(D_SAE), "b_dec": draw(d_in)}
    w["threshold"] = draw(D_SAE, seed=1).abs()
    folder.mkdir(parents=True)
    arrays: dict[str, Any] = {name: value.numpy() for name, value in w.items()}
    np.savez(folder / "params.npz", **arrays)

    def library(x: Tensor) -> tuple[Tensor, Tensor]:
        pre = x @ w["W_enc"] + w["b_enc"]
        latents = relu(pre) * (pre > w["threshold"])
        return latents, latents @ w["W_dec"] + w["b_dec"]

    return library


def sparsify(folder: Path, d_in: int = D_IN, **settings: Any) -> Library:
    """EleutherAI/sae, sparsify/sparse_coder.py: top-k of relu(encoder(x - b_dec)), W_dec kept as [latent, channel]."""
    w = {"encoder.weight": draw(D_SAE, d_in), "encoder.bias": draw(D_SAE), "W_dec": draw(D_SAE, d_in, seed=1)}
    w["b_dec"] = draw(d_in)
    folder.mkdir(parents=True)
    save_file(w, folder / "sae.safetensors")
    described = {"expansion_factor": 2, "normalize_decoder": True, "num_latents": D_SAE, "k": K, "d_in": d_in}
    (folder / "cfg.json").write_text(json.dumps({**described, **settings}))

    def library(x: Tensor) -> tuple[Tensor, Tensor]:
        latents = top(linear(x - w["b_dec"], w["encoder.weight"], w["encoder.bias"]))
        return latents, latents @ w["W_dec"] + w["b_dec"]

    return library


def openai(file: Path, activation: str) -> Library:
    """openai/sparse_autoencoder, model.py: TopK SAEs see inputs after a layer norm, which is undone at the end."""
    encoder, decoder, latent_bias, pre_bias = draw(D_SAE, D_IN), draw(D_IN, D_SAE), draw(D_SAE), draw(D_IN)
    state: dict[str, Any] = {"encoder.weight": encoder, "decoder.weight": decoder}
    state |= {"latent_bias": latent_bias, "pre_bias": pre_bias, "stats_last_nonzero": torch.zeros(D_SAE).long()}
    details = {"k": K, "postact_fn": "ReLU"} if activation == "TopK" else {}
    torch.save(state | {"activation": activation, "activation_state_dict": details}, file)

    def library(x: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = torch.zeros(()), torch.ones(())
        if activation == "TopK":
            mean = x.mean(dim=-1, keepdim=True)
            std = (x - mean).std(dim=-1, keepdim=True)
            x = (x - mean) / (std + 1e-5)
        pre = linear(x - pre_bias, encoder, latent_bias)
        latents = top(pre) if activation == "TopK" else relu(pre)
        return latents, (linear(latents, decoder) + pre_bias) * std + mean

    return library


def dictionary_learning(folder: Path, name: str, **trainer: Any) -> Library:
    """saprmarks/dictionary_learning, dictionary.py and trainers/top_k.py."""
    encoder, decoder, enc_bias, dec_bias = draw(D_SAE, D_IN), draw(D_IN, D_SAE), draw(D_SAE), draw(D_IN)
    threshold, r_mag, mag_bias = draw(D_SAE, seed=1).abs(), draw(D_SAE, seed=2), draw(D_SAE, seed=3)
    one, linears = torch.tensor(0.2), {"encoder.weight": encoder, "decoder.weight": decoder}
    top_k = {**linears, "encoder.bias": enc_bias, "b_dec": dec_bias, "k": torch.tensor(K), "threshold": one}
    plain = {"W_enc": encoder.T.contiguous(), "W_dec": decoder.T.contiguous(), "b_enc": enc_bias, "b_dec": dec_bias}
    biases = {"gate_bias": enc_bias, "mag_bias": mag_bias, "r_mag": r_mag, "decoder_bias": dec_bias}
    states = {
        "AutoEncoder": {**linears, "encoder.bias": enc_bias, "bias": dec_bias},
        "AutoEncoderNew": {**linears, "encoder.bias": enc_bias, "decoder.bias": dec_bias},
        "GatedAutoEncoder": {**linears, **biases},
        "JumpReluAutoEncoder": {**plain, "threshold": threshold},
        "AutoEncoderTopK": top_k,
        "BatchTopKSAE": top_k,
        "MatryoshkaBatchTopKSAE": {
            **plain,
            "k": torch.tensor(K),
            "threshold": one,
            "group_sizes": torch.tensor([8, 56]),
        },
    }
    folder.mkdir(parents=True)
    torch.save(states[name], folder / "ae.pt")
    said = {"dict_class": name, "activation_dim": D_IN, "dict_size": D_SAE, "k": K, "layer": 1, "lm_name": "toy/toy"}
    config = {"trainer": {**said, "submodule_name": "resid_post_layer_1", **trainer}, "buffer": {"ctx_len": 64}}
    (folder / "config.json").write_text(json.dumps(config))

    def latents_of(x: Tensor) -> Tensor:
        apart = x if name in ("AutoEncoderNew", "JumpReluAutoEncoder") else x - dec_bias
        pre = linear(apart, encoder)
        if name == "GatedAutoEncoder":
            return (pre + enc_bias > 0) * relu(r_mag.exp() * pre + mag_bias)
        pre = pre + enc_bias
        if name == "AutoEncoderTopK":
            return top(pre)
        cut = {"JumpReluAutoEncoder": threshold, "BatchTopKSAE": one, "MatryoshkaBatchTopKSAE": one}.get(name)
        return relu(pre) if cut is None else relu(pre) * (pre > cut)

    return lambda x: (latents_of(x), linear(latents_of(x), decoder) + dec_bias)


CLASSES = (
    "AutoEncoder",
    "AutoEncoderNew",
    "GatedAutoEncoder",
    "JumpReluAutoEncoder",
    "AutoEncoderTopK",
    "BatchTopKSAE",
    "MatryoshkaBatchTopKSAE",
)


def write(name: str, folder: Path) -> tuple[Path, Library]:
    """An SAE of that kind, and what its library makes of activations."""
    if name in CLASSES:
        return folder / "ae", dictionary_learning(folder / "ae", name)
    if name.startswith("openai"):
        return folder / "6.pt", openai(folder / "6.pt", name.removeprefix("openai "))
    path = folder / "gemma-scope-2b-pt-res" / "layer_1" if name == "gemma-scope" else folder / "layers.1"
    return path, {"gemma-scope": gemma_scope, "sparsify": sparsify}[name](path)


def resolved(path: Path, model_type: str = "llama", **more: Any) -> SaeEntry:
    definition = {"name": "it", "source": "pretrained", "path": str(path), **more}
    return resolve(definition, folder=Path(), named={}, config=toy_config(model_type))


KINDS = (*CLASSES, "gemma-scope", "sparsify", "openai TopK", "openai ReLU")


@pytest.mark.parametrize("name", KINDS)
def test_an_sae_computes_what_its_library_does(name: str, tmp_path: Path) -> None:
    path, library = write(name, tmp_path)
    entry = resolved(path, **({"site": SITE} if name.startswith("openai") else {}))
    sae = make(entry).sae
    latents, reconstruction = library(X)
    torch.testing.assert_close(sae.encode(X), latents, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(reconstruct(sae, latents, X), reconstruction, atol=1e-5, rtol=1e-5)
    assert (entry.site, entry.d_in, entry.d_sae) == (Site(1, "resid_post"), D_IN, D_SAE)
    save(sae, tmp_path / "saelens")  # from here on it is an SAE of SAELens like any other
    assert torch.equal(load_folder(tmp_path / "saelens")(X), sae(X))
    assert torch.equal(SAE.load_from_disk(tmp_path / "saelens")(X), sae(X))


LOADERS = {
    "gemma-scope": theirs.gemma_2_sae_huggingface_loader,
    **dict.fromkeys(CLASSES, theirs.dictionary_learning_sae_huggingface_loader_1),
}


@pytest.mark.parametrize("name", [name for name in LOADERS if name != "AutoEncoderNew"])
def test_an_sae_is_the_one_that_saelens_loads(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = write(name, tmp_path)

    def local(repo_id: str, filename: str, subfolder: str = "", **_: Any) -> str:
        assert repo_id
        return str(Path(subfolder) / filename)

    monkeypatch.setattr(theirs, "hf_hub_download", local)
    overrides: dict[str, Any] = {"d_in": D_IN, "d_sae": D_SAE} if name == "gemma-scope" else {}
    cfg, weights, _ = LOADERS[name]("google/gemma-scope-2b-pt-res", str(path), "cpu", False, overrides)
    with quiet():
        sae = SAE.from_dict(theirs.handle_config_defaulting(cfg))
    sae.load_state_dict(weights)
    ours = make(resolved(path)).sae
    torch.testing.assert_close(ours.encode(X), sae.encode(X), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours(X), sae(X), atol=1e-6, rtol=1e-6)
    assert ours.cfg.metadata.hook_name == sae.cfg.metadata.hook_name


def test_where_saelens_reads_sparsify_otherwise(tmp_path: Path) -> None:
    """Without `b_dec` both agree, up to the decoder that SAELens turns over; with it, only one is what was trained."""
    path, _ = write("sparsify", tmp_path)
    cfg, weights = theirs.sparsify_disk_loader(path, cfg_overrides={"dtype": "float32"})
    ours = make(resolved(path)).sae
    assert torch.equal(weights["W_enc"], ours.W_enc) and torch.equal(weights["W_dec"].T, ours.W_dec)
    assert cfg["apply_b_dec_to_input"] is False and ours.cfg.apply_b_dec_to_input is True


def test_files_say_what_they_are_and_suites_say_the_rest(tmp_path: Path) -> None:
    gemma, _ = write("gemma-scope", tmp_path)
    assert resolved(gemma, format="gemma-scope").identity() == resolved(gemma).identity()
    assert (resolved(gemma).context_size, resolved(gemma).prepend_bos) == (1024, True)
    assert resolved(gemma, prepend_bos=False).prepend_bos is False
    moved = gemma.rename(tmp_path / "mine")
    with pytest.raises(RegistryError, match=r"names no site \(hook_name\)"):
        resolved(moved)
    assert resolved(moved, site=SITE).site == Site(1, "resid_post")
    batch, _ = write("BatchTopKSAE", tmp_path)
    params = resolved(batch).params.model_dump()
    assert (params["trained_as"], params["k"], params["trained_on"]) == ("batchtopk", K, "toy/toy")


def test_sites_are_modules_as_the_library_sees_them(tmp_path: Path) -> None:
    for folder, model_type, site in (
        ("layers.2", "gpt_neox", Site(2, "resid_post")),
        ("layers.2.mlp", "llama", Site(2, "mlp_out")),
        ("h.0.mlp", "gpt2", Site(0, "mlp_out")),
    ):
        sparsify(tmp_path / model_type / folder)
        assert resolved(tmp_path / model_type / folder, model_type).site == site
    # Gemma 2 has a norm between its MLP and the stream: what comes out of the MLP is no site.
    with pytest.raises(RegistryError, match="post_feedforward_layernorm"):
        resolved(tmp_path / "llama" / "layers.2.mlp", "gemma2")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"transcode": True}, "is a transcoder"),
        ({"skip_connection": True}, "is a transcoder"),
        ({"activation": "groupmax"}, "activates its latents by groupmax"),
        ({"signed": True}, "by signed topk"),
        ({"k": None}, "a topk SAE without a whole number 'k'"),
    ],
)
def test_what_sparsify_has_beside_saes_is_refused(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    sparsify(tmp_path / "layers.1", **settings)
    with pytest.raises(RegistryError, match=said):
        resolved(tmp_path / "layers.1")


def test_what_is_no_sae_is_refused_with_the_reason(tmp_path: Path) -> None:
    for name, said in (
        ("CrossCoder", "more places of the model than one"),
        ("AutoEncodr", "Did you mean 'AutoEncoder'"),
    ):
        dictionary_learning(tmp_path / name, "AutoEncoder", dict_class=name)
        with pytest.raises(RegistryError, match=said):
            resolved(tmp_path / name)
    path, _ = write("sparsify", tmp_path)
    with pytest.raises(RegistryError, match=r"no SAE in the format dictionary-learning: config.json and ae.pt are"):
        resolved(path, format="dictionary-learning")
    with pytest.raises(RegistryError, match="Unknown format of SAEs 'sparsfy'. Did you mean 'sparsify'"):
        resolved(path, format="sparsfy")
    with pytest.raises(RegistryError, match="has W_skip, which no topk SAE"):
        save_file({**_tensors(path), "W_skip": draw(D_IN, D_IN)}, path / "sae.safetensors")
        resolved(path)


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path / "sae.safetensors")


@pytest.mark.parametrize("name", ["gemma-scope", "sparsify", "AutoEncoderTopK", "openai TopK"])
def test_damaged_files_are_refused(name: str, tmp_path: Path) -> None:
    path, _ = write(name, tmp_path)
    file = path if path.is_file() else next(found for found in path.iterdir() if found.suffix not in (".json",))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RegistryError, match="cannot be read"):
        resolved(path, site=SITE)


def test_a_file_is_never_executed(tmp_path: Path) -> None:
    path, _ = write("openai ReLU", tmp_path)
    torch.save({"encoder.weight": Path("anything but a tensor")}, path)
    with pytest.raises(RegistryError, match="cannot be read"):
        resolved(path, site=SITE)


def test_widths_and_dtypes_are_told_before_weights_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = write("sparsify", tmp_path)
    with pytest.raises(RegistryError, match="reads 32 channels, but 'blocks.1.attn.hook_z' of this model .* has 64"):
        resolved(path, "qwen3", site="blocks.1.attn.hook_z")
    save_file({name: value.to(torch.int8) for name, value in _tensors(path).items()}, path / "sae.safetensors")
    with pytest.raises(RegistryError, match="'W_enc' is stored as int8; SAEs are read from float64, float32"):
        resolved(path)
    with pytest.raises(RegistryError, match="has no tensor 'W_dec', which the format sparsify needs"):
        save_file({"encoder.weight": draw(D_SAE, D_IN)}, path / "sae.safetensors")
        resolved(path)


def test_half_precision_is_computed_in_float32(tmp_path: Path) -> None:
    path, library = write("sparsify", tmp_path)
    save_file({name: value.to(torch.bfloat16) for name, value in _tensors(path).items()}, path / "sae.safetensors")
    sae = make(resolved(path)).sae
    assert sae.W_dec.dtype == torch.float32
    torch.testing.assert_close(sae(X), library(X)[1], atol=0.3, rtol=0.1)
