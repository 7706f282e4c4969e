"""Streams of activations for making SAEs: exactly so many tokens, shuffled through a bounded buffer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RegistryError

Activations = Iterator[Float[Tensor, "token d_in"]]


@torch.no_grad()
def take(activations: Activations, tokens: int, d_in: int) -> Activations:
    """The first `tokens` activations, in float32 and in chunks of the sizes they come in.

    Raises:
        RegistryError: the activations end before, or their width is not `d_in`.
    """
    left = tokens
    while left > 0:
        chunk = next(activations, None)
        if chunk is None:
            raise RegistryError(
                f"{tokens} tokens of activations are needed, but only {tokens - left} came. "
                "Lower `tokens` or give a longer text."
            )
        if chunk.ndim != 2 or chunk.shape[1] != d_in:
            raise RegistryError(f"Activations of shape [token, {d_in}] are needed, got {list(chunk.shape)}.")
        yield chunk[:left].float()
        left -= min(left, chunk.shape[0])


@torch.no_grad()
def shuffled_batches(
    activations: Activations, batch_size: int, buffer_tokens: int, generator: torch.Generator
) -> Iterator[Float[Tensor, "batch d_in"]]:
    """Whole batches of activations, mixed over `buffer_tokens` tokens, of which half stay behind for the next mixing.

    The idea is SAELens' `mixing_buffer`. That one draws from the global generator, copies the whole buffer for every
    chunk, and serves what is left at the end in the order of the text, which is when the learning rate decays.
    """
    held: list[Tensor] = []
    n_held = 0
    for chunk in activations:
        held.append(chunk)
        n_held += chunk.shape[0]
        if n_held >= buffer_tokens:
            pool = _permuted(held, generator)
            n_served = (n_held - buffer_tokens // 2) // batch_size * batch_size
            yield from _cut(pool[:n_served], batch_size)
            held = [pool[n_served:].clone()]
            n_held -= n_served
    if n_held >= batch_size:
        yield from _cut(_permuted(held, generator)[: n_held // batch_size * batch_size], batch_size)


def _cut(pool: Float[Tensor, "token d_in"], batch_size: int) -> Iterator[Float[Tensor, "batch d_in"]]:
    for start in range(0, pool.shape[0], batch_size):
        yield pool[start : start + batch_size]


def _permuted(held: list[Tensor], generator: torch.Generator) -> Float[Tensor, "token d_in"]:
    pool = torch.cat(held)
    return pool[torch.randperm(pool.shape[0], generator=generator).to(pool.device)]
