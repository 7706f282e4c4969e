"""How many bytes each matrix has in the checkpoint, where loading unpacks it into something larger.

Counted is everything that the file holds of a layer but its bias: packed weights, scales, zero points, orders.
"""

from __future__ import annotations

import importlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from transformers import PreTrainedModel
from transformers.utils.hub import cached_file

from ...families import blocks_of
from ..linear import linear_layers, note_packed_bytes
from .source import Source

_HEADER_LENGTH = 8
"""Bytes that hold the length of a safetensors header."""


def note(loaded: PreTrainedModel, source: Source) -> None:
    """Note on every linear layer the bytes that the checkpoint has for it."""
    if source.gguf is None:
        held, called = _of_safetensors(_file(source, "config.json").parent), _without(loaded.base_model_prefix)
    else:
        held, called = _of_gguf(_file(source, source.gguf), len(blocks_of(loaded)))
    for layer in linear_layers(loaded):
        n_bytes = held.get(layer.name) or held.get(called(layer.name) or "")
        if n_bytes:
            note_packed_bytes(layer.module, n_bytes)


def _file(source: Source, name: str) -> Path:
    """A file of the checkpoint, which loading has put on this machine."""
    return Path(str(cached_file(source.location, name, revision=source.revision)))


def _without(prefix: str) -> Callable[[str], str | None]:
    """Some checkpoints were saved from the model without its head, and lack the name that it has within the whole."""
    return lambda name: name.removeprefix(f"{prefix}.")


def _of_safetensors(folder: Path) -> Mapping[str, int]:
    held: dict[str, int] = defaultdict(int)
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(_HEADER_LENGTH), "little")))
        for key, tensor in header.items():
            module, _, part = key.rpartition(".")
            if key != "__metadata__" and part != "bias":
                start, end = tensor["data_offsets"]
                held[module] += end - start
    return held


def _of_gguf(file: Path, n_blocks: int) -> tuple[Mapping[str, int], Callable[[str], str | None]]:
    """Bytes by GGUF's names, and what it calls a module; see its "standardized tensor names"."""
    gguf = importlib.import_module("gguf")
    reader = gguf.GGUFReader(file)
    named = str(reader.fields["general.architecture"].contents())
    architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == named)
    names = gguf.get_tensor_name_map(architecture, n_blocks)
    held = {str(t.name).removesuffix(".weight"): int(t.n_bytes) for t in reader.tensors if t.name.endswith(".weight")}
    return held, names.get_name
