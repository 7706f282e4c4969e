"""What a compressor promises, what it realised, and the error where the two differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Promise:
    """What verification holds a compressed model to. An author's own function promises nothing but a change."""

    sparsity: float | None = None
    """Share of zeros that every target matrix reaches at least."""
    sparsity_at_most: float | None = None
    """Share of zeros that no target matrix exceeds, the dense one's zeros apart; None where rounding adds some."""
    bits: int | None = None
    """Every group of a target matrix holds at most `2 ** bits` distinct values."""
    group_size: int | None = None
    """Weights that share a scale, along the rows of the flattened matrix; None for a whole row."""
    overhead_bits: int = 0
    """Bits of scale and zero point of one group."""
    keeps_rest: bool = True
    """Whether everything but the linear layers of the blocks stays as it was, to the bit."""
    is_dense: bool = False
    """Whether nothing changes at all."""

    def then(self, later: Promise) -> Promise:
        """The promise of this step followed by another: zeros survive, a later grid replaces an earlier one."""
        given = [promise.sparsity for promise in (self, later) if promise.sparsity is not None]
        limits = [self.sparsity_at_most, later.sparsity_at_most]
        bounded = later.bits is None and all(limit is not None for limit in limits)
        # Zeros of a second pruning may lie outside those of the first, hence the sum.
        at_most = min(1.0, sum(limit for limit in limits if limit is not None)) if bounded else None
        grid = later if later.bits is not None or not later.keeps_rest else self
        return replace(
            grid,
            sparsity=max(given, default=None),
            sparsity_at_most=at_most,
            keeps_rest=self.keeps_rest and later.keeps_rest,
        )


@dataclass(frozen=True)
class MatrixOutcome:
    """What became of one target matrix."""

    name: str
    shape: tuple[int, int]
    """Output and input features of the dense matrix."""
    changed: bool
    sparsity: float | None
    """Share of exact zeros; None where the matrix is gone or has another shape."""
    dense_sparsity: float
    dense_norm: float
    """`|W_dense|` (Frobenius)."""
    levels: int | None
    """Distinct values in the group that has most; None where no number of bits is promised."""
    weight_error: float | None
    """`|W - W_dense| / |W_dense|` (Frobenius); None as above or where the dense matrix is zero."""
    effective_bits: float | None
    """Bits per weight, scales and masks counted."""
    finite: bool


@dataclass(frozen=True)
class WeightBytes:
    """Sizes of the whole model's weights; tied weights count once."""

    dense: int
    actual: int
    """What the tensors of the compressed model occupy now."""
    theoretical: int
    """What the compressed weights need in a format made for them (formula in `verify.py`)."""


@dataclass(frozen=True)
class Realised:
    """What compression did to a model, measured on its weights."""

    verified: bool
    target_matrices: int
    coverage: float
    """Share of the weights of the blocks' linear layers that lie in a matrix that changed."""
    sparsity: float
    """Share of exact zeros in the target matrices."""
    effective_bits: float
    """Mean bits per weight of the target matrices, scales and masks counted."""
    weight_error: float | None
    """`|W - W_dense| / |W_dense|` over all target matrices together."""
    logit_change: float
    """`|z - z_dense| / |z_dense|` at the last position of the probing batch."""
    bytes: WeightBytes
    warnings: tuple[str, ...]
    matrices: tuple[MatrixOutcome, ...]

    def to_json(self) -> dict[str, Any]:
        """Strict JSON, one row a matrix; figures have six significant digits."""
        columns = ("name", "shape", "sparsity", "levels", "weight_error", "effective_bits")
        return {
            "verified": self.verified,
            "target_matrices": self.target_matrices,
            "coverage": _short(self.coverage),
            "sparsity": _short(self.sparsity),
            "effective_bits": _short(self.effective_bits),
            "weight_error": _short(self.weight_error),
            "logit_change": _short(self.logit_change),
            "bytes": {"dense": self.bytes.dense, "actual": self.bytes.actual, "theoretical": self.bytes.theoretical},
            "warnings": list(self.warnings),
            "matrices": [{column: _short(getattr(matrix, column)) for column in columns} for matrix in self.matrices],
        }


class NotCompressed(Exception):
    """The model is not what its compressor promises; the text says how it differs.

    Attributes:
        realised: what was measured until then; None where the result could not be measured at all.
    """

    def __init__(self, message: str, realised: Realised | None = None) -> None:
        super().__init__(message)
        self.realised = realised


def _short(value: Any) -> Any:
    """A figure for JSON: six significant digits, no NaN or infinity, shapes as lists."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) < float("inf") else None
    return list(value) if isinstance(value, tuple) else value
