"""Where a compressed model differs from what its compressor promised, in words."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch

from .outcome import MatrixOutcome
from .promise import Promise, Removal, Zeros, count_of
from .snapshot import DenseSnapshot, Logits

SLACK = 0.01
"""How far a matrix's sparsity may exceed what was promised."""
_ROUNDING = 1e-9
"""Whole weights are pruned; the last digit of a share must not decide."""
Matrices = Sequence[MatrixOutcome]


def faults(
    matrices: Matrices, promise: Promise, logits: Logits, snapshot: DenseSnapshot, touched: list[str], n_blocks: int
) -> list[str]:
    """Every fault; none for a result that is what was promised.

    Args:
        touched: parameters outside the linear layers that are not what they were.
        n_blocks: how many blocks there are now.
    """
    found = _of_whole(matrices, promise, logits, snapshot)
    if promise.is_dense:
        return found + _of_dense(matrices, logits, snapshot, touched)
    here = [matrix for matrix in matrices if matrix.sparsity is not None]
    found += _of_shapes(matrices, promise, snapshot.n_blocks - n_blocks)
    for zeros in promise.zeros:
        found += _of_zeros(here, zeros)
    found += _of_excess(here, promise) + _of_grid(here, promise) + _of_rank(here)
    if touched and promise.keeps_rest:
        found.append(f"changed outside the blocks' linear layers: {few(touched)}")
    return found


def few(names: Collection[str]) -> str:
    """The first three names and how many more there are."""
    shown = list(names)[:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _of_whole(matrices: Matrices, promise: Promise, logits: Logits, snapshot: DenseSnapshot) -> list[str]:
    found: list[str] = []
    unfinished = [matrix.name for matrix in matrices if not matrix.finite]
    if unfinished:
        found.append(f"NaN or infinite weights in {few(unfinished)}")
    if not logits.finite:
        found.append("NaN or infinite logits")
    same_logits = logits.digest == snapshot.logits.digest
    if not promise.is_dense and same_logits and not any(matrix.changed for matrix in matrices):
        found.append(f"none of the {len(matrices)} target matrices differs from the dense model, nor does any logit")
    return found


def _of_dense(matrices: Matrices, logits: Logits, snapshot: DenseSnapshot, touched: list[str]) -> list[str]:
    changed = [matrix.name for matrix in matrices if matrix.changed]
    found = [f"the dense model was changed in {few(changed)}"] if changed else []
    if touched:
        found.append(f"changed outside the blocks' linear layers: {few(touched)}")
    if not found and logits.digest != snapshot.logits.digest:
        found.append("the logits differ from those of the same weights")
    return found


def _of_shapes(matrices: Matrices, promise: Promise, n_dropped: int) -> list[str]:
    found: list[str] = []
    gone = [matrix.name for matrix in matrices if matrix.sparsity is None]
    if gone and (promise.zeros or promise.bits is not None or promise.rank_share is not None or promise.removes):
        found.append(f"gone or of another shape: {few(gone)}")
    if not promise.keeps_rest:
        return found
    if n_dropped != promise.drops_blocks:
        found.append(f"{promise.drops_blocks} blocks were to be taken out, and {n_dropped} were")
    for units in ("heads", "neurons", None):
        here = [m for m in matrices if m.units == units and m.sparsity is not None and m.removed < 1]
        found += _of_removals(here, [removal for removal in promise.removes if removal.of == units])
    return found


def _of_removals(here: Matrices, removals: Sequence[Removal]) -> list[str]:
    """Where matrices of one kind of units lost more or less than all of these take out, one after the other."""
    # Units are counted and rounded down, to one at least: never to less than half of the share.
    least = 1 - math.prod(1 - removal.share / 2 for removal in removals)
    most = 1 - math.prod(1 - removal.share for removal in removals)
    odd = [m for m in here if not least - _ROUNDING <= m.removed <= most + _ROUNDING]
    if not odd:
        return []
    wanted = " and ".join(f"{removal.share:g} of the {removal.of}" for removal in removals) or "nothing"
    return [f"{wanted} was to be taken out, which is not what was lost by {_with_shares(odd, 'removed')}"]


def _of_zeros(here: Matrices, zeros: Zeros) -> list[str]:
    figure = "rest_sparsity" if zeros.of_rest else "sparsity"
    here = [matrix for matrix in here if getattr(matrix, figure) is not None]
    if zeros.of == "model":
        sizes = [math.prod(matrix.kept_shape if zeros.of_rest else matrix.shape) for matrix in here]
        total = _mean([getattr(matrix, figure) for matrix in here], sizes)
        # Each row rounds down what it prunes.
        least = zeros.share - SLACK - 1 / min(_inputs(matrix, zeros) for matrix in here)
        return [f"sparsity {zeros.share} of the model was promised, {total:.4f} is there"] if total < least else []
    missed = [
        matrix
        for matrix in here
        if getattr(matrix, figure) < _least(zeros.share_in(matrix.block), _inputs(matrix, zeros)) - _ROUNDING
    ]
    found: list[str] = []
    if missed:
        share = zeros.share if zeros.by_block is None else zeros.by_block
        found.append(f"sparsity {share} was promised, and not met by {_with_shares(missed, figure)}")
    if zeros.pattern is not None:
        full = [m.name for m in here if m.fullest_group is not None and m.fullest_group > zeros.pattern[0]]
        if full:
            found.append(
                f"the pattern {zeros.pattern[0]}:{zeros.pattern[1]} was promised, and is broken in {few(full)}"
            )
    return found


def _inputs(matrix: MatrixOutcome, zeros: Zeros) -> int:
    """How many inputs the matrix had when it was pruned."""
    return matrix.kept_shape[1] if zeros.of_rest else matrix.shape[1]


def _least(share: float, in_features: int) -> float:
    """The share that pruning row by row, rounded down, gives at least."""
    return count_of(share, in_features) / in_features


def _of_excess(here: Matrices, promise: Promise) -> list[str]:
    if promise.adds_zeros or not promise.zeros:
        return []
    if any(zeros.of == "model" for zeros in promise.zeros):
        sizes = [math.prod(matrix.shape) for matrix in here]
        total, removed = (_mean([getattr(m, figure) for m in here], sizes) for figure in ("sparsity", "removed"))
        dense = max(matrix.dense_sparsity for matrix in here)
        most = sum(zeros.share for zeros in promise.zeros) + removed + dense + SLACK
        return [f"sparsity of the model is {total:.4f}, more than was promised"] if total > most else []
    # Zeros of a second pruning may lie outside those of the first, hence the sum.
    rich = [
        m
        for m in here
        if (m.sparsity or 0.0)
        > sum(zeros.share_in(m.block) for zeros in promise.zeros) + m.removed + m.dense_sparsity + SLACK
    ]
    shares = " + ".join(f"{zeros.share:g}" for zeros in promise.zeros)
    return [f"sparsity {shares} was promised, and exceeded in {_with_shares(rich, 'sparsity')}"] if rich else []


def _of_grid(here: Matrices, promise: Promise) -> list[str]:
    if promise.bits is None:
        return []
    most = 2**promise.bits
    rich = [f"{m.name} ({m.levels})" for m in here if m.levels is not None and m.levels > most]
    return [f"{promise.bits} bits were promised, but more than {most} levels in {few(rich)}"] if rich else []


def _of_rank(here: Matrices) -> list[str]:
    # What rounding the product of two factors to the model's dtype adds, relative to the product, is at most half its
    # epsilon; bfloat16's is the largest of all.
    most = float(torch.finfo(torch.bfloat16).eps)
    full = [m.name for m in here if m.rank_excess is not None and m.rank_excess > most]
    return [f"a low rank was promised, and is exceeded in {few(full)}"] if full else []


def _mean(figures: Sequence[float], sizes: Sequence[int]) -> float:
    return sum(n * figure for n, figure in zip(sizes, figures, strict=True)) / max(sum(sizes), 1)


def _with_shares(matrices: Matrices, figure: str) -> str:
    return few([f"{matrix.name} ({getattr(matrix, figure):.4f})" for matrix in matrices])
