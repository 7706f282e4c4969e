"""Arrays on disk, read and written a piece at a time.

Not memory-mapped: pages of a mapped file count as memory of the process that has touched them, for as long as the
system has room, so that its peak would grow with the text. What is read here is copied into the batch and forgotten.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Iterator, Sequence
from io import FileIO
from pathlib import Path

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


class DiskArray:
    """An array `[position, channel]` in a file, in any dtype."""

    def __init__(self, file: Path, shape: Sequence[int], dtype: torch.dtype, *, new: bool = False) -> None:
        """A new file, to be filled, or an old one.

        Raises:
            OSError: an old file that does not have the array's size, or cannot be read; a new one that cannot be made.
        """
        self.shape = tuple(shape)
        self.dtype = dtype
        self._file = file
        self._row_bytes = math.prod(self.shape[1:]) * dtype.itemsize
        size_bytes = self.shape[0] * self._row_bytes
        # Open for as long as the array is used: the file may be moved into the cache, or cleared out of it, meanwhile.
        self._open = FileIO(file, "w+" if new else "r")
        weakref.finalize(self, self._open.close)
        if new:
            self._open.truncate(size_bytes)
        elif (found_bytes := file.stat().st_size) != size_bytes:
            raise OSError(f"{file} holds {found_bytes} bytes; an array {list(shape)} of {dtype} has {size_bytes}.")

    def read(self, pieces: Iterable[tuple[int, Float[Tensor, "_ channel"]]]) -> None:
        """Fill tensors with the rows from a position on: (position, contiguous tensor on the CPU) each.

        Raises:
            EOFError: the file has become shorter.
        """
        for start, target in pieces:
            self._open.seek(start * self._row_bytes)
            for part in _bytes(target):
                if self._open.readinto(part) != len(part):
                    raise EOFError(f"{self._file} ends before row {start + len(target)}.")

    def write(self, pieces: Iterable[tuple[int, Float[Tensor, "_ channel"]]]) -> None:
        """Store rows from a position on: (position, contiguous tensor on the CPU) each."""
        for start, source in pieces:
            self._open.seek(start * self._row_bytes)
            for part in _bytes(source):
                while part:
                    part = part[self._open.write(part) :]


def _bytes(tensor: Shaped[Tensor, "*shape"]) -> Iterator[memoryview]:
    """The memory of a contiguous tensor, if it has any: numpy does not know every dtype, but knows bytes."""
    if tensor.numel():
        yield tensor.view(torch.uint8).numpy().data.cast("B")
