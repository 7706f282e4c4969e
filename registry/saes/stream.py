"""Streams of activations for making SAEs: read once by all of them, cut exactly, mixed through a bounded buffer.

How a stream is cut into chunks never matters: whatever depends on many tokens at once (a batch, a sum in float64, the
mixing) is done for blocks of a size of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RegistryError
from ..sites import Site

Activations = Iterator[Float[Tensor, "token d_in"]]
"""Of one site, in chunks of any sizes, valid tokens only; may be endless."""
SiteActivations = Iterator[Mapping[Site, Float[Tensor, "token d_in"]]]
"""The same for several sites: every chunk has the same tokens at each."""
Opener = Callable[[int], SiteActivations]
"""Opens the activations at their token of that number, counted from 0."""


@runtime_checkable
class Reader(Protocol):
    """Whoever needs the first `tokens` activations at a site."""

    site: Site
    d_in: int
    tokens: int
    waited: float
    """Seconds that producing what it read took."""

    def read(self, chunk: Float[Tensor, "token d_in"]) -> None:
        """Take in the next activations, in float32."""
        ...


@torch.no_grad()
def read_once(
    readers: Sequence[Reader],
    activations: Opener,
    start: int = 0,
    after_chunk: Callable[[int], None] | None = None,
) -> None:
    """Give every reader the activations it needs, from one stream, which is left as soon as nobody needs more.

    Args:
        start: tokens that the readers have read already.
        after_chunk: told how many tokens have been read.

    Raises:
        RegistryError: the activations end before all have what they need, or their width is not the readers'.
    """
    position, stream = start, activations(start)
    while hungry := [reader for reader in readers if reader.tokens > position]:
        began = time.perf_counter()
        chunk = next(stream, None)
        seconds = time.perf_counter() - began
        if chunk is None:
            needed = max(reader.tokens for reader in readers)
            raise RegistryError(
                f"{needed} tokens of activations are needed, but only {position} came. "
                "Lower `tokens` or give a longer text."
            )
        for reader in hungry:
            reader.waited += seconds
            reader.read(_part(chunk, reader, position))
        position += next(iter(chunk.values())).shape[0]
        if after_chunk is not None:
            after_chunk(position)


def _part(chunk: Mapping[Site, Tensor], reader: Reader, position: int) -> Float[Tensor, "token d_in"]:
    part = chunk[reader.site]
    if part.ndim != 2 or part.shape[1] != reader.d_in:
        raise RegistryError(f"Activations of shape [token, {reader.d_in}] are needed, got {list(part.shape)}.")
    return part[: reader.tokens - position].float()


class Blocks:
    """Cuts a stream into blocks of exactly `size` tokens, whatever its chunks."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: list[Tensor] = []

    def feed(self, chunk: Float[Tensor, "token d_in"]) -> Iterator[Float[Tensor, "size d_in"]]:
        """The blocks that are whole with this chunk."""
        held = torch.cat([*self._held, chunk])
        whole = held.shape[0] // self._size * self._size
        # A copy, since a view would keep the whole chunk alive.
        self._held = [held[whole:].clone()]
        for start in range(0, whole, self._size):
            yield held[start : start + self._size]

    def rest(self) -> Iterator[Float[Tensor, "token d_in"]]:
        """What is left in the end, if anything."""
        yield from (held for held in self._held if held.shape[0] > 0)


class Mixer:
    """Whole batches of the first `tokens` activations, mixed over a buffer of which half stays for the next mixing.

    The idea is SAELens' `mixing_buffer`. That one draws from the global generator, copies the whole buffer for every
    chunk, and serves what is left at the end in the order of the text, which is when the learning rate decays.
    """

    def __init__(self, tokens: int, batch_size: int, buffer_tokens: int, seed: int, head_tokens: int = 0) -> None:
        """Mix `tokens` activations, of which the last ones are left out that fill no batch.

        Args:
            head_tokens: how many of the first activations `head` shall hold, once the first batch is served.
        """
        self._tokens, self._batch_size, self._head_tokens = tokens, batch_size, head_tokens
        self._size = min(tokens, max(buffer_tokens, 2 * batch_size))
        self._generator = torch.Generator().manual_seed(seed)
        self._buffer: Tensor | None = None
        self._held = self._seen = 0
        self.head: Tensor | None = None

    def feed(self, chunk: Float[Tensor, "token d_in"]) -> Iterator[Float[Tensor, "batch d_in"]]:
        """The batches that are served with this chunk; all of them must be taken before the next chunk."""
        if self._buffer is None:
            self._buffer = chunk.new_empty(self._size, chunk.shape[1])
        buffer = self._buffer
        while chunk.shape[0] > 0:
            taken = chunk[: self._size - self._held]
            chunk = chunk[taken.shape[0] :]
            buffer[self._held : self._held + taken.shape[0]] = taken
            self._held += taken.shape[0]
            self._seen += taken.shape[0]
            if self._seen == self._tokens:
                yield from self._serve(buffer, self._held)
            elif self._held == self._size:
                yield from self._serve(buffer, self._size - self._size // 2)

    def _serve(self, buffer: Float[Tensor, "size d_in"], tokens: int) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Mix what is held, and take whole batches of about that many tokens out."""
        if self.head is None:
            self.head = buffer[: min(self._head_tokens, self._held)].clone()
        order = torch.randperm(self._held, generator=self._generator).to(buffer.device)
        mixed = buffer[: self._held][order]
        served = tokens // self._batch_size * self._batch_size
        self._held -= served
        buffer[: self._held] = mixed[served:]
        for start in range(0, served, self._batch_size):
            yield mixed[start : start + self._batch_size]

    def state(self) -> tuple[dict[str, Tensor], int]:
        """Everything that what is served next depends on: tensors, and how many activations there were."""
        tensors = {"generator": self._generator.get_state()}
        if self._buffer is not None:
            tensors["held"] = self._buffer[: self._held].clone()
        if self.head is not None:
            tensors["head"] = self.head
        return tensors, self._seen

    def load_state(self, tensors: Mapping[str, Tensor], seen: int) -> None:
        """Go on from there."""
        self._seen, self.head = seen, tensors.get("head")
        self._generator.set_state(tensors["generator"].cpu())
        if (held := tensors.get("held")) is not None:
            self._held = held.shape[0]
            self._buffer = held.new_empty(self._size, held.shape[1])
            self._buffer[: self._held] = held
