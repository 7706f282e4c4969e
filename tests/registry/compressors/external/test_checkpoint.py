"""Ready-made checkpoints: each format read as what it is, and everything that does not fit refused."""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from saetransfer.registry.compressors.external import source
from saetransfer.registry.compressors.linear import linear_layers
from saetransfer.registry.compressors.method import compress
from saetransfer.registry.compressors.outcome import NotCompressed
from saetransfer.registry.errors import Impossible, RegistryError
from tests.registry.compressors.common import FAMILIES, compressor, verified, weights, wide_toy
from tests.registry.compressors.external.common import pruned_checkpoint
from tests.toys import toy_tokens


def definition(path: Path | str, **more: Any) -> dict[str, Any]:
    return {"name": "made", "method": "checkpoint", "path": str(path), **more}


def loaded(model: PreTrainedModel, path: Path) -> PreTrainedModel:
    return compress(copy.deepcopy(model), compressor(definition(path)), None)


@pytest.fixture
def pruned(tmp_path: Path) -> Path:
    """A pruned checkpoint of `wide_toy("llama")`."""
    return pruned_checkpoint(wide_toy("llama"), tmp_path / "pruned")


def edit_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_pruned_checkpoint_is_read_bit_by_bit(family: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = wide_toy(family, dtype)
    made = copy.deepcopy(model)
    folder = pruned_checkpoint(made, tmp_path / "made")
    result, realised = verified(model, compressor(definition(folder)))
    assert all(torch.equal(value, weights(made)[name]) for name, value in weights(result).items())
    assert realised.sparsity == pytest.approx(0.5, abs=0.01)
    assert (result.dtype, result.device, result.training) == (dtype, model.device, False)
    assert not any(parameter.requires_grad for parameter in result.parameters())


def test_weights_are_cast_to_the_dtype_of_the_dense_model(tmp_path: Path) -> None:
    folder = pruned_checkpoint(wide_toy("llama").bfloat16(), tmp_path / "made")
    assert loaded(wide_toy("llama"), folder).dtype == torch.float32


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("settings", "storage", "bits", "error"),
    [
        ({"load_in_8bit": True}, "int8", 8, 0.01),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}, "4bit", 4, 0.12),
    ],
    ids=["int8", "nf4"],
)
def test_bitsandbytes_stays_in_its_own_storage(
    settings: dict[str, Any], storage: str, bits: int, error: float, family: str, tmp_path: Path
) -> None:
    model = wide_toy(family)
    model.save_pretrained(tmp_path / "dense")
    AutoModelForCausalLM.from_pretrained(
        tmp_path / "dense", quantization_config=BitsAndBytesConfig(**settings), device_map={"": "cpu"}
    ).save_pretrained(tmp_path / "made")
    result, realised = verified(model, compressor(definition(tmp_path / "made")))
    assert {layer.storage for layer in linear_layers(result)} == {storage}
    assert bits <= realised.effective_bits < bits + 2  # scales of small matrices weigh more than those of large ones
    assert realised.weight_error is not None and 0 < realised.weight_error < error
    read = weights(result)
    with torch.no_grad():
        result(toy_tokens())
    assert all(torch.equal(value, read[name]) for name, value in weights(result).items())


def compressed_tensors(model: PreTrainedModel, folder: Path, *, bits: int, group: int | None, act: bool) -> Path:
    """What llm-compressor would write for rounding to nearest."""
    pytest.importorskip("compressed_tensors")
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config

    made = copy.deepcopy(model)
    stored = "int-quantized" if act else "pack-quantized"
    scheme = {
        "targets": ["Linear"],
        "weights": {"num_bits": bits, "strategy": "group" if group else "channel", "group_size": group},
        "input_activations": {"num_bits": 8, "strategy": "token", "dynamic": True} if act else None,
        "format": stored,
    }
    ignored = ["re:.*lm_head", "embed_out"]
    settings = QuantizationConfig.model_validate(
        {"config_groups": {"all": scheme}, "ignore": ignored, "format": stored}
    )
    apply_quantization_config(made, settings)
    for layer in linear_layers(made):
        groups = layer.weight.unflatten(1, (-1, group or layer.shape[1]))
        layer.module.weight_scale.data.copy_(groups.abs().amax(dim=-1) / (2 ** (bits - 1) - 1))
    compressor_ = ModelCompressor.from_pretrained_model(made)
    compressor_.compress_model(made)
    made.save_pretrained(folder)
    compressor_.update_config(str(folder))
    return folder


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gemma2"])  # it does not know GPT-2's Conv1D
def test_compressed_tensors_are_unpacked_and_their_packed_size_is_counted(family: str, tmp_path: Path) -> None:
    model = wide_toy(family)
    folder = compressed_tensors(model, tmp_path / "made", bits=4, group=32, act=False)
    result, realised = verified(model, compressor(definition(folder)))
    assert {layer.storage for layer in linear_layers(result)} == {"linear"}
    for name, weight in weights(result).items():
        groups = weights(model)[name].unflatten(1, (-1, 32))
        scale = groups.abs().amax(dim=-1, keepdim=True) / 7
        torch.testing.assert_close(weight, ((groups / scale).round().clamp(-8, 7) * scale).flatten(1))
    assert 4 + 32 / 32 <= realised.effective_bits < 5.2  # a float32 scale for 32 weights, and the shape
    assert realised.bytes.theoretical < realised.bytes.dense


def test_rounding_of_activations_is_kept(tmp_path: Path) -> None:
    model = wide_toy("llama")
    folder = compressed_tensors(model, tmp_path / "made", bits=8, group=None, act=True)
    for layer in linear_layers(loaded(model, folder)):
        inputs = torch.randn(3, layer.shape[1], generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            exact, given = inputs @ layer.weight.T, layer.module(inputs)
        # The step of 8 bits is the largest activation over 127.5; unpacked without it, the difference would be 0.
        assert 0.001 < (given - exact).norm() / exact.norm() < 0.02


def write_gguf(model: PreTrainedModel, file: Path) -> Path:
    """A Llama as llama.cpp would write it, its matrices in Q8_0."""
    gguf = pytest.importorskip("gguf")
    config = model.config
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        called = names.get_name(name, try_suffixes=(".weight",))
        head = heads.get(called.split(".")[-2])
        if head is not None:  # llama.cpp pairs neighbouring dimensions in its rotary embeddings
            tensor = tensor.unflatten(0, (head, 2, -1)).transpose(1, 2).flatten(0, 2)
        values = tensor.contiguous().numpy()
        if "blk" in called and values.ndim == 2:
            packed = gguf.quantize(values, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(called, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(called, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.mark.parametrize("named", ["file", "folder"])
def test_gguf_is_unpacked_and_its_packed_size_is_counted(named: str, tmp_path: Path) -> None:
    model = wide_toy("llama")
    file = write_gguf(model, tmp_path / "q8.gguf")
    result, realised = verified(model, compressor(definition(file if named == "file" else tmp_path)))
    assert {layer.storage for layer in linear_layers(result)} == {"linear"}
    assert realised.weight_error is not None and 0 < realised.weight_error < 0.01
    assert realised.effective_bits == 8.5  # a float16 scale for 32 weights
    assert result.dtype == torch.float32


OTHERS: dict[str, Callable[[Any], None]] = {
    "vocabulary": lambda config: setattr(config, "vocab_size", 80),
    "width": lambda config: (setattr(config, "hidden_size", 32), setattr(config, "head_dim", 8))[0],
    "number of layers": lambda config: setattr(config, "num_hidden_layers", 2),
    "number of attention heads": lambda config: setattr(config, "num_attention_heads", 8),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_checkpoint_of_another_size_is_refused_by_its_configuration(what: str, tmp_path: Path) -> None:
    config = copy.deepcopy(wide_toy("llama").config)
    OTHERS[what](config)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "made")
    with pytest.raises(NotCompressed, match=f"another model.*{what}"):
        loaded(wide_toy("llama"), tmp_path / "made")


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    wide_toy("gpt_neox").save_pretrained(tmp_path / "made")
    with pytest.raises(NotCompressed, match="model_type 'gpt_neox' instead of 'llama'|model_type"):
        loaded(wide_toy("llama"), tmp_path / "made")


def test_matrices_of_another_shape_are_refused(tmp_path: Path) -> None:
    config = copy.deepcopy(wide_toy("llama").config)
    config.intermediate_size = 96
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "made")
    with pytest.raises(NotCompressed, match=r"mlp.gate_proj.*\(128, 64\)"):
        loaded(wide_toy("llama"), tmp_path / "made")


def test_a_checkpoint_that_is_the_dense_model_is_not_compressed(tmp_path: Path) -> None:
    wide_toy("llama").save_pretrained(tmp_path / "made")
    with pytest.raises(NotCompressed, match="none of the 21 target matrices differs"):
        verified(wide_toy("llama"), compressor(definition(tmp_path / "made")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda held: held.pop("model.layers.1.mlp.up_proj.weight"), "lacks 1 weights.*up_proj"),
        (lambda held: held.update(extra=torch.zeros(2)), "beside those of the model, 1 weights, such as extra"),
        (lambda held: held.update({"model.norm.weight": torch.zeros(3)}), "model.norm.weight|size|shape"),
    ],
    ids=["missing", "unexpected", "mismatched"],
)
def test_keys_must_be_those_of_the_model(change: Callable[[Any], Any], message: str, pruned: Path) -> None:
    held = load_file(pruned / "model.safetensors")
    change(held)
    save_file(held, pruned / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises((NotCompressed, RegistryError), match=message):
        loaded(wide_toy("llama"), pruned)


def test_safetensors_that_are_cut_off_are_refused_when_the_suite_is_read(pruned: Path) -> None:
    weights_file = pruned / "model.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:-100])
    with pytest.raises(RegistryError, match="no whole safetensors"):
        compressor(definition(pruned))


def test_pickles_are_never_read(pruned: Path) -> None:
    (pruned / "model.safetensors").rename(pruned / "pytorch_model.bin")
    with pytest.raises(RegistryError, match=r"pytorch_model.bin: reading a pickle runs code"):
        compressor(definition(pruned))


def test_a_configuration_cannot_name_a_pickle(pruned: Path) -> None:
    edit_config(pruned, transformers_weights="adapter_model.bin")
    with pytest.raises(RegistryError, match="Only safetensors"):
        loaded(wide_toy("llama"), pruned)


def test_code_of_a_checkpoint_is_never_run(pruned: Path, tmp_path: Path) -> None:
    (pruned / "modeling.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass A: pass\n")
    edit_config(pruned, auto_map={"AutoConfig": "modeling.A", "AutoModelForCausalLM": "modeling.A"})
    loaded(wide_toy("llama"), pruned)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("method", "module", "install"),
    [
        ("compressed-tensors", "compressed_tensors", "pip install 'compressed-tensors"),
        ("gptq", "gptqmodel", "pip install gptqmodel optimum"),
        ("awq", "gptqmodel", "pip install gptqmodel"),
        ("bitsandbytes", "bitsandbytes", "pip install 'bitsandbytes"),
    ],
)
def test_a_missing_library_is_named_with_its_remedy(
    method: str, module: str, install: str, pruned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_config(pruned, quantization_config={"quant_method": method, "bits": 4})
    hide(monkeypatch, module)
    with pytest.raises(Impossible, match=rf"stored as '{method}', which .*{module}.*{install}"):
        loaded(wide_toy("llama"), pruned)


def test_gguf_without_its_library_is_planned_and_then_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "q4.gguf").write_bytes(b"GGUF and so on")
    hide(monkeypatch, "gguf")
    chosen = compressor(definition(tmp_path / "q4.gguf"))
    with pytest.raises(Impossible, match="pip install 'gguf"):
        compress(wide_toy("llama"), chosen, None)


def hide(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Let a library seem not to be installed."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == module else find_spec(name, *rest)
    )


def test_a_gguf_file_that_holds_nonsense_is_a_readable_error(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    (tmp_path / "q4.gguf").write_bytes(b"GGUF" + bytes(range(256)))
    with pytest.raises(RegistryError, match="q4.gguf: no configuration"):
        compress(wide_toy("llama"), compressor(definition(tmp_path / "q4.gguf")), None)


def test_an_unknown_format_is_refused_instead_of_ignored(pruned: Path) -> None:
    edit_config(pruned, quantization_config={"quant_method": "aqlm"})
    with pytest.raises(RegistryError, match="stored as 'aqlm', which is not read here. Read are plain"):
        loaded(wide_toy("llama"), pruned)


def folder_of(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).write_text("{}" if name == "config.json" else "nothing")
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "nowhere"}, "there is no folder"),
        ({"path": "empty"}, "no config.json and no .gguf"),
        ({"path": "file.txt"}, "give the folder it lies in"),
        ({"path": "fake.gguf"}, "no GGUF file"),
        ({"path": "two"}, "several GGUF files .a.gguf, b.gguf"),
        ({"path": "adapter"}, "merge_and_unload"),
        ({"path": "empty", "revision": "main"}, "`revision` belongs to `hub`"),
        ({"path": "empty", "gguf": "x.gguf"}, r"FOLDER/FILE.gguf"),
        ({"path": "empty", "hub": "a/b"}, "exactly one of"),
        ({}, "exactly one of .* got neither"),
        ({"path": 3}, "path"),
    ],
)
def test_mistakes_are_found_when_the_suite_is_read(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    for name, files in {
        "empty": (),
        "two": ("a.gguf", "b.gguf"),
        "adapter": ("config.json", "adapter_config.json"),
    }.items():
        (tmp_path / name).mkdir()
        folder_of(tmp_path / name, *files)
    folder_of(tmp_path, "file.txt", "fake.gguf")
    with pytest.raises(RegistryError, match=message):
        compressor({"name": "made", "method": "checkpoint", **changes}, tmp_path)


def test_the_identity_is_what_is_held_and_not_where(tmp_path: Path) -> None:
    first = pruned_checkpoint(wide_toy("llama"), tmp_path / "first")
    second = pruned_checkpoint(wide_toy("llama"), tmp_path / "second")
    other = pruned_checkpoint(wide_toy("llama", seed=1), tmp_path / "other")
    identities = [compressor(definition(path)).identity for path in (first, second, other)]
    assert identities[0] == identities[1] != identities[2]
    assert str(tmp_path) not in json.dumps(identities)
    assert compressor(definition("first"), tmp_path).identity == identities[0]


def test_a_checkpoint_of_the_hub_is_pinned_to_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    config = copy.deepcopy(wide_toy("llama").config)
    config._commit_hash = "c0ffee"
    asked: list[Any] = []
    monkeypatch.setattr(
        source.AutoConfig, "from_pretrained", lambda *given, **more: (asked.append((given, more)), config)[1]
    )
    chosen = compressor({"name": "made", "method": "checkpoint", "hub": "some/model"})
    assert chosen.identity[0]["params"] == {"hub": "some/model", "revision": "c0ffee", "gguf": None}
    assert chosen.steps[0].params["revision"] == "c0ffee"
    assert asked == [(("some/model",), {"revision": "main", "trust_remote_code": False})]


def test_a_gguf_file_of_the_hub_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    held = SimpleNamespace(
        sha="c0ffee", siblings=[SimpleNamespace(rfilename=name) for name in ("README.md", "q8.gguf")]
    )
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *given, **more: held)
    chosen = {"name": "made", "method": "checkpoint", "hub": "some/model"}
    assert compressor({**chosen, "gguf": "q8.gguf"}).steps[0].params["revision"] == "c0ffee"
    with pytest.raises(RegistryError, match="holds no file 'q4.gguf'. Its GGUF files: q8.gguf"):
        compressor({**chosen, "gguf": "q4.gguf"})


def test_a_repository_that_is_not_there_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*given: Any, **more: Any) -> None:
        raise OSError("some/model is not a valid model identifier")

    monkeypatch.setattr(source.AutoConfig, "from_pretrained", absent)
    with pytest.raises(RegistryError, match="some/model: no configuration: some/model is not a valid"):
        compressor({"name": "made", "method": "checkpoint", "hub": "some/model"})


def test_the_dense_model_gives_its_memory_back_before_the_checkpoint_is_read(pruned: Path) -> None:
    model = wide_toy("llama")
    compress(model, compressor(definition(pruned)), None)
    assert all(parameter.is_meta for parameter in model.parameters())
