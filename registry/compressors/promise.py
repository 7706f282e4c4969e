"""What a compressor promises: the data that verification holds its result to."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from ..families import Units


@dataclass(frozen=True)
class Zeros:
    """Weights that one step sets to zero, and that are still zero at the end of a chain."""

    share: float
    """Of the weights: 0 to 1."""
    of: Literal["matrix", "model"] = "matrix"
    """Whether every target matrix has that share of zeros, or all of them together."""
    by_block: tuple[float, ...] | None = None
    """The share of the matrices of each block, where blocks differ and it is known beforehand."""
    pattern: tuple[int, int] | None = None
    """`(n, m)`: at most n of any m consecutive inputs of a row are not zero."""
    of_rest: bool = False
    """Whether the share is of the weights that earlier steps of the chain have not taken out. Otherwise weights taken
    out count among the zeros, which some of them were."""

    def share_in(self, block: int) -> float:
        """The share of a matrix of that block."""
        return self.share if self.by_block is None else self.by_block[block]

    def beside(self, other: Promise, *, is_first: bool) -> Zeros:
        """The same in a chain with another step, which may take weights out."""
        if not other.takes_out:
            return self
        by_model = other.drops_blocks > 0 and self.by_block is not None  # blocks have other numbers before and after
        renumbered = replace(self, by_block=None, of="model") if by_model else self
        return replace(renumbered, of_rest=not is_first)


@dataclass(frozen=True)
class Removal:
    """Units that one step takes out of every block."""

    share: float
    """Of the units, rounded down; one at least, so never less than half of the share."""
    of: Units


@dataclass(frozen=True)
class Promise:
    """What verification holds a compressed model to. An author's own function promises nothing but a change."""

    zeros: tuple[Zeros, ...] = ()
    """One entry for each pruning step."""
    adds_zeros: bool = False
    """Whether there may be more zeros than were promised: rounding makes some."""
    bits: int | None = None
    """Every group of a target matrix holds at most `2 ** bits` distinct values."""
    group_size: int | None = None
    """Weights that share a scale, along the rows of the flattened matrix; None for a whole row."""
    overhead_bits: float | None = 0
    """Bits of scale and zero point of one group; None for what a library really stores of them."""
    scaled_inputs: bool = False
    """Whether the levels are those of the matrix times the `input_scale` that its module holds."""
    rank_share: float | None = None
    """Every target matrix has at most the rank whose two factors hold this share of its weights."""
    removes: tuple[Removal, ...] = ()
    """Heads or neurons taken out, by step: every matrix that is made of them lost these, and no other lost any."""
    drops_blocks: int = 0
    """Number of whole blocks taken out."""
    keeps_rest: bool = True
    """Whether everything but the linear layers of the blocks stays as it was, to the bit."""
    is_dense: bool = False
    """Whether nothing changes at all."""

    @property
    def takes_out(self) -> bool:
        """Whether there are fewer weights afterwards."""
        return bool(self.removes) or self.drops_blocks > 0

    def then(self, later: Promise) -> Promise:
        """The promise of this step followed by another: zeros survive, a later grid replaces an earlier one."""
        values_are_new = later.bits is not None or later.rank_share is not None or not later.keeps_rest
        grid = later if values_are_new else replace(self, rank_share=None)
        return replace(
            grid,
            zeros=(
                *(zeros.beside(later, is_first=True) for zeros in self.zeros),
                *(zeros.beside(self, is_first=False) for zeros in later.zeros),
            ),
            adds_zeros=self.adds_zeros or later.adds_zeros,
            removes=(*self.removes, *later.removes),
            drops_blocks=self.drops_blocks + later.drops_blocks,
            keeps_rest=self.keeps_rest and later.keeps_rest,
        )


def count_of(share: float, n: int) -> int:
    """How many of `n` a share is, rounded down: what pruning removes.

    The product of two floats may fall short of a whole number by its last digit (0.29 * 100 is 28.999...): that is
    made good, so that the same share of a row and of a matrix never contradict each other.
    """
    return math.floor(share * n + 1e-9 * n)


def rank_of(rank_share: float, shape: tuple[int, int]) -> int:
    """The largest rank whose factors `[out, rank]` and `[rank, in]` hold at most that share of the weights; 1 at least.

    k = floor(share m n / (m + n)), as in SVD-LLM (arXiv 2403.07378).
    """
    out_features, in_features = shape
    return max(1, count_of(rank_share, out_features * in_features) // (out_features + in_features))
