"""What methods need to know of the inputs of linear layers: norms, and Gram matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from ...calibration import Block


def input_norms(block: Block) -> dict[str, Float[Tensor, " in_features"]]:
    """The l2 norm of every input feature of each linear layer of a block, over all calibration tokens, in float32."""
    sums = _sums(block, lambda n: (n,), lambda total, x: total.add_(x.square().sum(dim=0)))
    return {name: total.sqrt() for name, total in sums.items()}


def input_magnitudes(block: Block) -> dict[str, Float[Tensor, " in_features"]]:
    """The sum of absolute values of every input feature, over all calibration tokens, in float32."""
    return _sums(block, lambda n: (n,), lambda total, x: total.add_(x.abs().sum(dim=0)))


def gram_matrices(block: Block) -> dict[str, Float[Tensor, "in in"]]:
    """`sum_t x_t x_t^T` over all calibration tokens, for each linear layer of a block, in float32.

    Layers that are given the very same inputs (queries, keys and values) share one matrix: do not change it.
    """
    sums = _sums(block, lambda n: (n, n), _add_upper_tiles)
    for total in {id(total): total for total in sums.values()}.values():
        _mirror_tiles(total)
    return sums


def _sums(
    block: Block, shape: Callable[[int], tuple[int, ...]], add_batch: Callable[[Tensor, Tensor], object]
) -> dict[str, Tensor]:
    """Sums over batches of a statistic of each layer's inputs; layers that share their inputs share one sum.

    Args:
        shape: of the sum, from the number of features.
        add_batch: adds what a batch of inputs `[token, feature]`, float32, gives to a sum, in place.
    """
    sums: dict[str, Tensor] = {}
    last: tuple[str, Tensor] | None = None

    def add(name: str, inputs: Float[Tensor, "token in_features"]) -> None:
        nonlocal last
        if last is not None and last[1] is inputs:
            sums[name] = sums[last[0]]
            return
        last = (name, inputs)
        if name not in sums:
            sums[name] = torch.zeros(shape(inputs.shape[1]), device=inputs.device)
        add_batch(sums[name], inputs.float())

    block.observe(add)
    return sums


_TILES = 8


def _tiles(n_features: int) -> Iterator[slice]:
    size = -(-n_features // _TILES)
    return (slice(start, min(start + size, n_features)) for start in range(0, n_features, size))


def _add_upper_tiles(total: Float[Tensor, "in in"], x: Float[Tensor, "token in"]) -> None:
    """Add `x^T x`, of which only the tiles on and above the diagonal are multiplied: half the work for wide layers."""
    for tile in _tiles(len(total)):
        total[tile, tile.start :] += x[:, tile].T @ x[:, tile.start :]


def _mirror_tiles(total: Float[Tensor, "in in"]) -> None:
    """Copy the tiles above the diagonal below it."""
    for tile in _tiles(len(total)):
        total[tile.stop :, tile] = total[tile, tile.stop :].T
