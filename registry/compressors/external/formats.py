"""What a checkpoint is stored as, and the library that reads it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig

from ...errors import Impossible, RegistryError
from ..kernels.bitsandbytes import missing_bitsandbytes
from .source import WHOSE, Source


@dataclass(frozen=True)
class Format:
    """A way to store compressed weights."""

    name: str
    """`quant_method` in the checkpoint's `config.json`."""
    modules: tuple[str, ...] = ()
    """What must be importable to read it."""
    install: str = ""
    """The command that installs these."""


PLAIN = Format("plain")
COMPRESSED_TENSORS = Format("compressed-tensors", ("compressed_tensors",), "pip install 'compressed-tensors>=0.15'")
BITSANDBYTES = Format("bitsandbytes", ("bitsandbytes", "accelerate"), "pip install 'bitsandbytes>=0.49' accelerate")
GPTQ = Format("gptq", ("gptqmodel", "optimum"), "pip install gptqmodel optimum")
AWQ = Format("awq", ("gptqmodel", "accelerate"), "pip install gptqmodel accelerate")
GGUF = Format("gguf", ("gguf", "accelerate"), "pip install 'gguf>=0.10' accelerate")
_QUANTISED = {found.name: found for found in (COMPRESSED_TENSORS, BITSANDBYTES, GPTQ, AWQ)}


def format_of(config: PretrainedConfig, source: Source) -> Format:
    """The format that a configuration names.

    Raises:
        RegistryError: one that is not read here; transformers would ignore what it does not know and load garbage.
    """
    quantisation: Any = getattr(config, "quantization_config", None)
    if not quantisation:
        return PLAIN
    settings: Mapping[str, Any] = quantisation if isinstance(quantisation, Mapping) else quantisation.to_dict()
    if settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        return BITSANDBYTES
    name = str(settings.get("quant_method"))
    if name not in _QUANTISED:
        raise RegistryError(
            f"{WHOSE} {source.shown} is stored as '{name}', which is not read here. Read are plain weights, "
            f"{', '.join(_QUANTISED)} and gguf. Dequantise it with its own library and save it as plain safetensors."
        )
    return _QUANTISED[name]


def require(stored: Format, source: Source) -> None:
    """Go on only if the libraries that read the format are here.

    Raises:
        Impossible: one is not installed, or does not work here; with the command that installs it.
    """
    absent = [name for name in stored.modules if importlib.util.find_spec(name) is None]
    if absent:
        raise Impossible(
            f"{WHOSE} {source.shown} is stored as '{stored.name}', which {' and '.join(absent)} would read; not "
            f"installed here. Install with `{stored.install}`."
        )
    if stored is BITSANDBYTES and (broken := missing_bitsandbytes()) is not None:
        raise Impossible(broken)
