"""Optimal brain surgeon on one matrix: what is lost in a column is made good in the columns after it.

SparseGPT and GPTQ minimise `|W X - W' X|^2` over W', row by row, for the inputs X of a layer. With the damped Hessian
`H = X X^T + damping * mean(diag X X^T) * I` (a common factor changes nothing) and `H^-1 = U^T U`, U upper triangular,
columns are settled from left to right:

    w'_j = rule(w_j),   e_j = (w_j - w'_j) / U_jj,   w_k -= e_j U_jk  for all k > j

Columns of one block are updated one by one, those after it by the whole block at once: the same sums in another order.
Source: Frantar and Alistarh 2022/2023 (GPTQ arXiv 2210.17323, SparseGPT arXiv 2301.00774). The Hessian is summed in
float32, factorised in float64, since its inverse is ill-conditioned, and the columns are updated in float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..outcome import CompressionWarning, NotCompressed

BLOCK_COLUMNS = 128
_DAMPING_STEP = 10.0
_MOST_DAMPING = 1e3

Rule = Callable[[int, Float[Tensor, "column out"]], Float[Tensor, " out"]]
"""From the index of a column, and that column with those after it in its block as they are now (transposed), to the
column's new values."""


def settle(
    weight: Float[Tensor, "out in"], factor: Float[Tensor, "in in"], rule: Rule, block_columns: int = BLOCK_COLUMNS
) -> Float[Tensor, "out in"]:
    """The matrix with every column settled, in float32.

    Args:
        factor: U of the inverse Hessian.
        block_columns: columns of one block.
    """
    # Transposed, a column lies in one piece of memory.
    left = weight.float().T.contiguous()
    n_columns = left.shape[0]
    for start in range(0, n_columns, block_columns):
        stop = min(start + block_columns, n_columns)
        block, errors = left[start:stop], torch.empty_like(left[start:stop])
        inside = factor[start:stop, start:stop]
        for index in range(stop - start):
            settled = rule(start + index, block[index:])
            errors[index] = (block[index] - settled) / inside[index, index]
            block[index] = settled
            block[index + 1 :].addr_(inside[index, index + 1 :], errors[index], alpha=-1)
        left[stop:].addmm_(factor[start:stop, stop:].T, errors, alpha=-1)
    return left.T


def without_dead_inputs(
    weight: Float[Tensor, "out in"], gram: Float[Tensor, "in in"]
) -> tuple[Float[Tensor, "out in"], Float[Tensor, "in in"]]:
    """The weights of inputs that are never anything but zero set to zero, and ones on their diagonal, as published."""
    dead = gram.diagonal() == 0
    if not bool(dead.any()):
        return weight, gram
    return weight.masked_fill(dead, 0), gram + torch.diag(dead.to(gram.dtype))


def inverse_factor(gram: Float[Tensor, "in in"], damping: float, name: str) -> Float[Tensor, "in in"]:
    """U, upper triangular, with `U^T U` the inverse of the damped Gram matrix, in float32.

    With M upper triangular and `M M^T` the damped matrix (its Cholesky factor read from the last row up), `U = M^-1`.
    Where the matrix is not positive definite even so, damping grows by tens, and a warning says to what.

    Args:
        damping: share of the mean of the diagonal that is added to it.
        name: the layer, for messages.

    Raises:
        NotCompressed: the inputs are not finite.
    """
    if not bool(gram.isfinite().all()):
        raise NotCompressed(f"The calibration inputs of {name} are not all finite.")
    # In place wherever it can be: a wide layer's matrix in float64 is large beside the model.
    damped = gram.flip(0, 1).double()
    diagonal = damped.diagonal().clone()
    used = damping
    while used <= _MOST_DAMPING:
        damped.diagonal().copy_(diagonal + used * diagonal.mean())
        lower, failed = torch.linalg.cholesky_ex(damped)
        if not int(failed):
            del damped
            if used != damping:
                warnings.warn(
                    f"{name}: the Hessian was not positive definite with damping {damping}; {used:g} was used.",
                    CompressionWarning,
                    stacklevel=2,
                )
            inverse = torch.eye(len(lower), dtype=lower.dtype, device=lower.device)
            torch.linalg.solve_triangular(lower, inverse, upper=False, out=inverse)
            return inverse.float().flip(0, 1)
        used *= _DAMPING_STEP
    raise NotCompressed(f"The Hessian of {name} is not positive definite even with damping {_MOST_DAMPING:g}.")
