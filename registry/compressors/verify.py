"""Proof that compression happened: what a compressed model's weights are, held against what was promised.

Libraries skip layers that they do not know and report success; a harness that believes them measures the dense model.
So every target matrix (every linear layer of every block) is read back and compared with the dense one.

Bits of a matrix of n weights of which k are not zero, in groups of g weights, b bits a weight, o bits of scale and
zero point a group:

    bits = min(n b, k b + n) + (n / g) o

The second form is a bit mask and the remaining weights; it is only counted where zeros are the aim, not where rounding
makes some. b, g and o are the promise's where it names bits, else those of the stored tensor (bitsandbytes' scales
counted as stored). Theoretical bytes of a model are these, and all its other tensors as they are.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from .linear import LinearLayer, layer_at, linear_layers
from .outcome import MatrixOutcome, NotCompressed, Promise, Realised, WeightBytes
from .snapshot import DenseSnapshot, Logits, digest, held_tensors

SLACK = 0.01
"""How far a matrix's sparsity may exceed what was promised."""
_CHUNK = 2**22


def verify(model: PreTrainedModel, snapshot: DenseSnapshot, promise: Promise) -> Realised:
    """Compare a compressed model with its dense snapshot.

    Weights are read before the model is run: bitsandbytes may repack them at the first forward pass.

    Raises:
        NotCompressed: nothing changed, a matrix misses the promise, something else was touched, or the result cannot
            be used; the text lists every fault, and what was measured is attached.
    """
    _refuse_unusable(model, snapshot)
    matrices = tuple(_measure(model, name, dense, promise) for name, dense in snapshot.matrices())
    touched = _touched(model, snapshot)
    logits = Logits.of(model, snapshot.tokens)
    if logits.last.shape != snapshot.logits.last.shape:
        now, before = logits.last.shape[-1], snapshot.logits.last.shape[-1]
        raise NotCompressed(f"The result gives {now} logits a position, the dense model {before}.")
    faults = [
        *_faults_of_whole(matrices, logits, snapshot, promise),
        *(_faults_of_dense(matrices, touched, logits, snapshot) if promise.is_dense else []),
        *_faults_of_matrices(matrices, promise),
    ]
    outside = f"changed outside the blocks' linear layers: {_few(touched)}" if touched else None
    if outside and promise.keeps_rest:
        faults.append(outside)
    warnings = [outside] if outside and not promise.keeps_rest else []
    realised = _summarise(model, snapshot, matrices, logits, tuple(warnings), verified=not faults)
    if faults:
        raise NotCompressed("Not compressed as promised: " + "; ".join(faults) + ".", realised)
    return realised


def _refuse_unusable(model: PreTrainedModel, snapshot: DenseSnapshot) -> None:
    if not isinstance(model, PreTrainedModel) or model.get_output_embeddings() is None:
        what = "nothing (None)" if model is None else f"an object of type {type(model).__name__}"
        raise NotCompressed(f"The compressor returned {what}, not a causal language model.")
    if model.config.vocab_size != snapshot.vocabulary:
        raise NotCompressed(
            f"The result has a vocabulary of {model.config.vocab_size}, the dense model one of {snapshot.vocabulary}."
        )
    if not snapshot.shapes:
        raise NotCompressed("The model has no linear layer within its blocks: there is nothing to compress.")


def _measure(model: PreTrainedModel, name: str, dense: Float[Tensor, "out in"], promise: Promise) -> MatrixOutcome:
    out_features, in_features = dense.shape
    shape = (out_features, in_features)
    zeros = _share_of_zeros(dense)
    layer = layer_at(model, name)
    if layer is None or layer.shape != shape:
        return MatrixOutcome(name, shape, True, None, zeros, _norm(dense), None, None, None, True)
    weight = layer.weight
    dense = dense.to(weight.device)
    norm = _norm(dense)
    return MatrixOutcome(
        name=name,
        shape=shape,
        changed=layer.storage in ("int8", "4bit") or weight.dtype != dense.dtype or not torch.equal(weight, dense),
        sparsity=_share_of_zeros(weight),
        dense_sparsity=zeros,
        dense_norm=norm,
        levels=None if promise.bits is None else max_levels(weight, promise.group_size),
        weight_error=_norm(weight.float() - dense.float()) / norm if norm > 0 else None,
        effective_bits=_bits(layer, weight, promise) / weight.numel(),
        finite=bool(weight.isfinite().all()),
    )


def max_levels(weight: Float[Tensor, "out in"], group_size: int | None) -> int:
    """Distinct values in the group that has most; groups run along the flattened matrix, None is a row."""
    size = group_size or weight.shape[1]
    flat = weight.reshape(-1)
    # A last group that is not full repeats its own last value, which adds no level.
    flat = torch.cat([flat, flat[-1:].expand(-flat.numel() % size)])
    most = 0
    for groups in flat.view(-1, size).split(max(1, _CHUNK // size)):
        # numpy's sort gives no indices and is some twenty times faster than torch's on a CPU.
        ordered = np.sort(groups.float().cpu().numpy(), axis=1)
        most = max(most, 1 + int((ordered[:, 1:] != ordered[:, :-1]).sum(axis=1).max()))
    return most


def _bits(layer: LinearLayer, weight: Float[Tensor, "out in"], promise: Promise) -> float:
    """Bits that the matrix needs, scales and mask counted; the formula stands on top of this file."""
    n = weight.numel()
    if promise.bits is not None:
        bits, overhead = promise.bits, promise.overhead_bits * math.ceil(n / (promise.group_size or weight.shape[1]))
    else:
        overhead = 8 * sum(tensor.nbytes for tensor in layer.quantisation_tensors)
        bits = (8 * layer.stored_bytes - overhead) / n
    if promise.bits is not None and promise.sparsity is None:
        return float(n * bits + overhead)
    return float(min(n * bits, int(weight.count_nonzero()) * bits + n) + overhead)


def _touched(model: PreTrainedModel, snapshot: DenseSnapshot) -> list[str]:
    """Names of the parameters outside the linear layers that are gone or not what they were, to the bit."""
    now = dict(model.named_parameters())
    return [name for name, before in snapshot.rest.items() if name not in now or digest(now[name]) != before]


def _faults_of_whole(
    matrices: tuple[MatrixOutcome, ...], logits: Logits, snapshot: DenseSnapshot, promise: Promise
) -> list[str]:
    faults: list[str] = []
    unfinished = [matrix.name for matrix in matrices if not matrix.finite]
    if unfinished:
        faults.append(f"NaN or infinite weights in {_few(unfinished)}")
    if not logits.finite:
        faults.append("NaN or infinite logits")
    same_logits = logits.digest == snapshot.logits.digest
    if not promise.is_dense and same_logits and not any(matrix.changed for matrix in matrices):
        faults.append(f"none of the {len(matrices)} target matrices differs from the dense model, nor does any logit")
    return faults


def _faults_of_dense(
    matrices: tuple[MatrixOutcome, ...], touched: list[str], logits: Logits, snapshot: DenseSnapshot
) -> list[str]:
    changed = [matrix.name for matrix in matrices if matrix.changed]
    faults = [f"the dense model was changed in {_few(changed)}"] if changed else []
    if not changed and not touched and logits.digest != snapshot.logits.digest:
        faults.append("the logits differ from those of the same weights")
    return faults


def _faults_of_matrices(matrices: tuple[MatrixOutcome, ...], promise: Promise) -> list[str]:
    faults: list[str] = []
    gone = [matrix.name for matrix in matrices if matrix.sparsity is None]
    if gone and (promise.sparsity is not None or promise.bits is not None):
        faults.append(f"gone or of another shape: {_few(gone)}")
    here = [matrix for matrix in matrices if matrix.sparsity is not None]
    missed = [f"{matrix.name} ({matrix.sparsity:.4f})" for matrix in here if not _meets_sparsity(matrix, promise)]
    if missed:
        faults.append(f"sparsity {promise.sparsity} was promised, and not met by {_few(missed)}")
    if promise.bits is not None:
        rich = [f"{m.name} ({m.levels})" for m in here if m.levels is not None and m.levels > 2**promise.bits]
        if rich:
            faults.append(f"{promise.bits} bits were promised, but more than {2**promise.bits} levels in {_few(rich)}")
    return faults


def _meets_sparsity(matrix: MatrixOutcome, promise: Promise) -> bool:
    if promise.sparsity is None or matrix.sparsity is None:
        return True
    in_features = matrix.shape[1]
    # Whole weights are pruned; the last digit of the shares must not decide.
    at_least = int(in_features * promise.sparsity) / in_features - 1e-9
    at_most = 1.0 if promise.sparsity_at_most is None else promise.sparsity_at_most + matrix.dense_sparsity + SLACK
    return at_least <= matrix.sparsity <= at_most


def _summarise(
    model: PreTrainedModel,
    snapshot: DenseSnapshot,
    matrices: tuple[MatrixOutcome, ...],
    logits: Logits,
    warnings: tuple[str, ...],
    *,
    verified: bool,
) -> Realised:
    n_weights = {matrix.name: math.prod(matrix.shape) for matrix in matrices}
    total = sum(n_weights.values())
    here = [matrix for matrix in matrices if matrix.sparsity is not None]
    gone = len(matrices) - len(here)
    if gone:
        warnings = (*warnings, f"{gone} target matrices are gone or have another shape and were not compared")
    n_here = sum(n_weights[matrix.name] for matrix in here)
    bits = sum(n_weights[matrix.name] * (matrix.effective_bits or 0) for matrix in here)
    return Realised(
        verified=verified,
        target_matrices=len(matrices),
        coverage=sum(n_weights[matrix.name] for matrix in matrices if matrix.changed) / total,
        sparsity=sum(n_weights[matrix.name] * (matrix.sparsity or 0) for matrix in here) / max(n_here, 1),
        effective_bits=bits / max(n_here, 1),
        weight_error=_total_error(here),
        logit_change=_norm(logits.last - snapshot.logits.last) / (_norm(snapshot.logits.last) or 1.0),
        bytes=_sizes(model, snapshot, here),
        warnings=warnings,
        matrices=matrices,
    )


def _total_error(here: list[MatrixOutcome]) -> float | None:
    errors = [(matrix.weight_error or 0.0) * matrix.dense_norm for matrix in here]
    norm = math.hypot(*(matrix.dense_norm for matrix in here))
    return math.hypot(*errors) / norm if norm > 0 else None


def _sizes(model: PreTrainedModel, snapshot: DenseSnapshot, here: list[MatrixOutcome]) -> WeightBytes:
    layers = linear_layers(model)
    actual = sum(tensor.nbytes for _, tensor in held_tensors(model))
    # No parameter or buffer lists what bitsandbytes keeps beside its weights.
    actual += sum(tensor.nbytes for layer in layers for tensor in layer.quantisation_tensors)
    measured = {matrix.name: matrix for matrix in here}
    as_stored = sum(layer.stored_bytes for layer in layers if layer.name in measured)
    as_bits = sum(math.prod(matrix.shape) * (matrix.effective_bits or 0) for matrix in here)
    return WeightBytes(snapshot.size_bytes, actual, actual - as_stored + math.ceil(as_bits / 8))


def _share_of_zeros(weight: Tensor) -> float:
    return 1 - int(weight.count_nonzero()) / weight.numel()


def _norm(tensor: Tensor) -> float:
    return torch.linalg.vector_norm(tensor, dtype=torch.float64).item()


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
