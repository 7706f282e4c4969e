"""Weights files of three kinds, whole or only their shapes. Nothing in a file is ever executed."""

from __future__ import annotations

import pickle  # noqa: TID251  for the name of its error
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import RegistryError

Device = Literal["cpu", "meta"]
"""`meta`: shapes and dtypes alone, and no weights are read."""

_DAMAGED = (
    SafetensorError,
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    OSError,
)
"""What the libraries raise for a file that is cut short, of another kind, or wants code to be run."""
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I8": torch.int8,
}
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read(file: Path, device: Device) -> dict[str, Any]:
    """What a `.safetensors`, `.npz` or `.pt` file holds.

    Raises:
        RegistryError: it is damaged, or holds more than tensors and plain values.
    """
    readers = {".safetensors": _safetensors, ".npz": _npz}
    try:
        found = readers.get(file.suffix, _pt)(file, device)
    except _DAMAGED as error:
        raise RegistryError(f"'{file}' cannot be read: {error}. Copy or save the SAE again.") from error
    if not isinstance(found, dict):
        raise RegistryError(f"'{file}' holds a {type(found).__name__}; the weights of an SAE by name are needed.")
    return found


def _safetensors(file: Path, device: Device) -> dict[str, Tensor]:
    with safe_open(file, framework="pt") as opened:
        names = list(opened.keys())
        if device == "cpu":
            return {name: opened.get_tensor(name) for name in names}
        slices = {name: opened.get_slice(name) for name in names}
        return {name: _empty(found.get_shape(), _slice_dtype(found)) for name, found in slices.items()}


def _slice_dtype(found: Any) -> torch.dtype:
    return _DTYPES.get(found.get_dtype(), torch.uint8)


def _npz(file: Path, device: Device) -> dict[str, Tensor]:
    if device == "cpu":
        with np.load(file, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    found: dict[str, Tensor] = {}
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                version = np.lib.format.read_magic(member)
                if version not in _HEADERS:
                    raise ValueError(f"version {version} of NumPy's format")
                shape, _, dtype = _HEADERS[version](member)
            found[name.removesuffix(".npy")] = _empty(shape, torch.from_numpy(np.empty(0, dtype)).dtype)
    return found


def _pt(file: Path, device: Device) -> Any:
    # Two libraries know no other file; `weights_only` builds tensors and plain values, and runs nothing.
    return torch.load(file, map_location=device, weights_only=True)  # noqa: TID251


def _empty(shape: Any, dtype: torch.dtype) -> Tensor:
    return torch.empty(tuple(shape), dtype=dtype, device="meta")
