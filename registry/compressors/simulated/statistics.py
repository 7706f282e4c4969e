"""What methods need to know of the inputs of linear layers: norms, and Gram matrices."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from ...calibration import Block


def input_norms(block: Block) -> dict[str, Float[Tensor, " in_features"]]:
    """The l2 norm of every input feature of each linear layer of a block, over all calibration tokens, in float32."""
    return {name: total.sqrt() for name, total in _sums(block, lambda x: x.square().sum(dim=0)).items()}


def input_magnitudes(block: Block) -> dict[str, Float[Tensor, " in_features"]]:
    """The sum of absolute values of every input feature, over all calibration tokens, in float32."""
    return _sums(block, lambda x: x.abs().sum(dim=0))


def gram_matrices(block: Block) -> dict[str, Float[Tensor, "in in"]]:
    """`sum_t x_t x_t^T` over all calibration tokens, for each linear layer of a block, in float32.

    Layers that are given the very same inputs (queries, keys and values) share one matrix: do not change it.
    """
    return _sums(block, _gram)


def _sums(block: Block, of_batch: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Sums over batches of a statistic of each layer's inputs; computed once for layers that share their inputs."""
    sums: dict[str, Tensor] = {}
    same_as: dict[str, str] = {}
    last: tuple[str, Tensor] | None = None

    def add(name: str, inputs: Float[Tensor, "token in_features"]) -> None:
        nonlocal last
        if last is not None and last[1] is inputs:
            same_as[name] = last[0]
            return
        last = (name, inputs)
        batch = of_batch(inputs.float())
        sums[name] = sums[name].add_(batch) if name in sums else batch

    block.observe(add)
    return sums | {name: sums[first] for name, first in same_as.items()}


_TILES = 8


def _gram(x: Float[Tensor, "token in_features"]) -> Float[Tensor, "in in"]:
    """`x^T x`, of which only the tiles on and above the diagonal are multiplied: half the work for wide layers."""
    n_features = x.shape[1]
    size = -(-n_features // _TILES)
    out = x.new_empty(n_features, n_features)
    for start in range(0, n_features, size):
        stop = min(start + size, n_features)
        strip = x[:, start:stop].T @ x[:, start:]
        out[start:stop, start:] = strip
        out[start:, start:stop] = strip.T
    return out
