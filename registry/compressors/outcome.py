"""What a compressor realised, measured on the weights, and the error where that is not what it promised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..families import Units


@dataclass(frozen=True)
class MatrixOutcome:
    """What became of one target matrix. Weights that were taken out count as zeros that need no bits."""

    name: str
    """Module path in the dense model."""
    shape: tuple[int, int]
    """Output and input features of the dense matrix."""
    block: int
    """Index of its block in the dense model."""
    units: Units | None
    """What it is made of, as far as that can be taken out."""
    kept_shape: tuple[int, int]
    """What is left of it; zeros where its block is gone."""
    changed: bool
    sparsity: float | None
    """Share of exact zeros; None where the matrix is gone or has another shape, and nothing says what was kept."""
    dense_sparsity: float
    dense_norm: float
    """`|W_dense|` (Frobenius)."""
    levels: int | None
    """Distinct values in the group that has most; None where no number of bits is promised."""
    fullest_group: int | None
    """Non-zeros in the group of inputs that has most, where an N:M pattern is promised."""
    rank_excess: float | None
    """Share of `|W|` beyond the promised rank, where one is promised."""
    weight_error: float | None
    """`|W - W_dense| / |W_dense|` (Frobenius); None as above or where the dense matrix is zero."""
    effective_bits: float | None
    """Bits for each weight of the dense matrix, scales and masks counted."""
    finite: bool
    output_error: float | None = None
    """`|y - y_dense| / |y_dense|` on calibration inputs; see `outputs.py`. None where it cannot be had."""

    @property
    def removed(self) -> float:
        """Share of the weights that are not there any more."""
        return 1 - math.prod(self.kept_shape) / math.prod(self.shape)

    @property
    def rest_sparsity(self) -> float | None:
        """Share of exact zeros among the weights that are there; None where that is not known or none are."""
        if self.sparsity is None or self.removed == 1:
            return None
        return (self.sparsity - self.removed) / (1 - self.removed)


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
    """Share of the weights of the blocks that lie in a target matrix that changed."""
    sparsity: float
    """Share of exact zeros in the target matrices, weights that were taken out included."""
    effective_bits: float
    """Mean bits per weight of the dense target matrices, scales and masks counted."""
    weight_error: float | None
    """`|W - W_dense| / |W_dense|` over all target matrices together."""
    output_error: float | None
    """The same for outputs: root of the sum of squared errors over the sum of squared dense outputs. None where it
    cannot be had of some matrix, as of those of a block that is gone."""
    logit_change: float
    """`|z - z_dense| / |z_dense|` at the last position of the probing batch."""
    bytes: WeightBytes
    warnings: tuple[str, ...]
    matrices: tuple[MatrixOutcome, ...]

    def to_json(self) -> dict[str, Any]:
        """Strict JSON, one row a matrix; figures have six significant digits."""
        columns = ("name", "shape", "sparsity", "removed", "levels", "weight_error", "output_error", "effective_bits")
        return {
            "verified": self.verified,
            "target_matrices": self.target_matrices,
            "coverage": _short(self.coverage),
            "sparsity": _short(self.sparsity),
            "effective_bits": _short(self.effective_bits),
            "weight_error": _short(self.weight_error),
            "output_error": _short(self.output_error),
            "logit_change": _short(self.logit_change),
            "bytes": {"dense": self.bytes.dense, "actual": self.bytes.actual, "theoretical": self.bytes.theoretical},
            "warnings": list(self.warnings),
            "matrices": [{column: _short(getattr(matrix, column)) for column in columns} for matrix in self.matrices],
        }


class CompressionWarning(UserWarning):
    """Something about a compression that its reader should know; `compress` puts it into the record."""


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
