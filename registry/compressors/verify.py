"""Proof that compression happened: what a compressed model's weights are, held against what was promised.

Libraries skip layers that they do not know and report success; a harness that believes them measures the dense model.
So every target matrix (every linear layer of every block) is read back and compared with the dense one. Where a layer
has become smaller, its weights are put back to their places in the dense matrix; those taken out count as zeros.

Bits of a matrix of n weights of which k are not zero, in groups of g weights, b bits a weight, o bits of scale and
zero point a group:

    bits = min(n b, k b + n) + (n / g) o

The second form is a bit mask and the remaining weights; it is only counted where zeros are the aim, not where rounding
makes some. b, g and o are the promise's where it names them, else those of the stored tensor (the scales of
bitsandbytes and torchao counted as stored). A matrix of promised rank r needs r (rows + columns) b at most. Bits are
given for each weight of the *dense* matrix. Theoretical bytes of a model are these, and all its other tensors as they
are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from ..families import family_of
from ..structure import KeptFeatures, kept_blocks, kept_features, name_now, split_name
from .faults import faults, few
from .levels import max_levels, share_of_zeros
from .linear import LinearLayer, layer_at, linear_layers, stored_nbytes
from .outcome import MatrixOutcome, NotCompressed, Realised, WeightBytes
from .outputs import OutputError, output_errors
from .promise import Promise, rank_of
from .snapshot import DenseSnapshot, Logits, digest, held_tensors

_STORAGES_OF_A_GRID = ("int8", "4bit", "tensor")


def verify(
    model: PreTrainedModel,
    snapshot: DenseSnapshot,
    promise: Promise,
    inputs: Sequence[Int[Tensor, " _position"]] = (),
    notes: Sequence[str] = (),
) -> Realised:
    """Compare a compressed model with its dense snapshot.

    Weights are read before the model is run: bitsandbytes may repack them at the first forward pass.

    Args:
        inputs: windows of calibration text, on which outputs of layers are compared; none for no such figure.
        notes: warnings of the compressor, to stand beside those of verification.

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
    found = faults(matrices, promise, logits, snapshot, touched, n_blocks=len(kept_blocks(model)))
    outputs = output_errors(model, snapshot, inputs)
    matrices = tuple(replace(matrix, output_error=outputs[matrix.name].relative) for matrix in matrices)
    warnings = [*notes, *_remarks(matrices, snapshot, [] if promise.keeps_rest else touched)]
    realised = _summarise(model, snapshot, matrices, logits, outputs, tuple(warnings), verified=not found)
    if found:
        raise NotCompressed("Not compressed as promised: " + "; ".join(found) + ".", realised)
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
    where, (block, path) = name_now(model, name), split_name(model, name)
    kept = KeptFeatures() if where is None else kept_features(model, where)
    layer = None if where is None else layer_at(model, where, len(kept.of(dense)[1]))
    whole = None if layer is None else _in_place(layer, kept, dense)
    unknown = where is not None and whole is None
    if layer is None or whole is None:
        whole = torch.zeros_like(dense)
    dense = dense.to(whole.device)
    norm = _norm(dense)
    shape = (dense.shape[0], dense.shape[1])
    return MatrixOutcome(
        name=name,
        shape=shape,
        block=block or 0,
        units=family_of(model.config).units_of(path),
        kept_shape=shape if unknown else (0, 0) if layer is None else layer.shape,
        changed=layer is None
        or layer.storage in _STORAGES_OF_A_GRID
        or whole.dtype != dense.dtype
        or not torch.equal(whole, dense),
        sparsity=None if unknown else share_of_zeros(whole),
        dense_sparsity=share_of_zeros(dense),
        dense_norm=norm,
        levels=None if unknown or promise.bits is None or layer is None else _levels(layer, whole, promise),
        fullest_group=None if unknown or layer is None else _fullest_group(layer, whole, promise),
        rank_excess=None if unknown else _rank_excess(whole, promise),
        weight_error=None if unknown or norm == 0 else _norm(whole.float() - dense.float()) / norm,
        effective_bits=None if unknown else 0.0 if layer is None else _bits(layer, promise) / dense.numel(),
        finite=bool(whole.isfinite().all()),
    )


def _in_place(layer: LinearLayer, kept: KeptFeatures, dense: Float[Tensor, "out in"]) -> Float[Tensor, "out in"] | None:
    """The matrix with zeros where something was taken out; None where it does not fit and nobody noted what was."""
    weight = layer.weight
    if weight.shape == dense.shape:
        return weight
    rows, columns = kept.of(dense)
    if weight.shape != (len(rows), len(columns)):
        return None
    whole = weight.new_zeros(dense.shape)
    whole[rows.to(weight.device)[:, None], columns.to(weight.device)] = weight
    return whole


def _levels(layer: LinearLayer, whole: Float[Tensor, "out in"], promise: Promise) -> int:
    if not promise.scaled_inputs:
        # Groups that were rounded before something was taken out lie in the whole matrix as they were then.
        return min(max_levels(weight, promise.group_size) for weight in _before_and_after(layer, whole))
    scale = layer.module.input_scale
    # The product and the quotient by the scale were each rounded once.
    return max_levels(layer.weight.float() * scale, promise.group_size, 4 * torch.finfo(layer.weight.dtype).eps)


def _fullest_group(layer: LinearLayer, whole: Float[Tensor, "out in"], promise: Promise) -> int | None:
    patterns = [zeros.pattern for zeros in promise.zeros if zeros.pattern is not None]
    if not patterns:
        return None
    # One figure stands for all patterns of a chain: how far the worst exceeds what is allowed, on top of the first.
    excess = [
        min(
            int((weight.reshape(-1, m) != 0).sum(dim=1).max()) - n
            for weight in _before_and_after(layer, whole)
            if weight.shape[1] % m == 0
        )
        for n, m in patterns
    ]
    return patterns[0][0] + max(excess)


def _before_and_after(layer: LinearLayer, whole: Float[Tensor, "out in"]) -> tuple[Float[Tensor, "_ _"], ...]:
    """The matrix as it lay before and after something was taken out: which of the two a step saw, nobody noted."""
    return (whole, layer.weight) if layer.shape != whole.shape else (whole,)


def _rank_excess(whole: Float[Tensor, "out in"], promise: Promise) -> float | None:
    """Root of the share of `|W|^2` in the singular values beyond the promised rank."""
    if promise.rank_share is None:
        return None
    squares = torch.linalg.svdvals(whole.double()).square()
    rank = rank_of(promise.rank_share, (whole.shape[0], whole.shape[1]))
    total = squares.sum().item()
    return math.sqrt(squares[rank:].sum().item() / total) if total > 0 else 0.0


def _bits(layer: LinearLayer, promise: Promise) -> float:
    """Bits that the matrix needs, scales and mask counted; the formula stands on top of this file."""
    weight = layer.weight
    n = weight.numel()
    bits = layer.value_bits if promise.bits is None else promise.bits
    if promise.bits is None or promise.overhead_bits is None:
        overhead = 8 * layer.overhead_bytes
    else:
        overhead = promise.overhead_bits * math.ceil(n / (promise.group_size or weight.shape[1]))
    if promise.rank_share is not None:
        n = min(n, rank_of(promise.rank_share, layer.shape) * sum(layer.shape))
    if promise.bits is not None and not promise.zeros:
        return float(n * bits + overhead)
    return float(min(n * bits, int(weight.count_nonzero()) * bits + weight.numel()) + overhead)


def _touched(model: PreTrainedModel, snapshot: DenseSnapshot) -> list[str]:
    """Names of the parameters outside the linear layers that are gone or not what they were, to the bit.

    What was in a block that is gone is gone with it, and no fault of its own.
    """
    now = dict(model.named_parameters())
    here = {name: name_now(model, name) for name in snapshot.rest}
    return [
        name
        for name, before in snapshot.rest.items()
        if (where := here[name]) is not None and (where not in now or digest(now[where]) != before)
    ]


def _remarks(matrices: tuple[MatrixOutcome, ...], snapshot: DenseSnapshot, touched: list[str]) -> list[str]:
    remarks = [f"changed outside the blocks' linear layers: {few(touched)}"] if touched else []
    gone = sum(matrix.sparsity is None for matrix in matrices)
    if gone:
        remarks.append(f"{gone} target matrices are gone or have another shape and were not compared")
    if snapshot.unreached:
        remarks.append(
            f"weights of the blocks that are no linear layer and are never reached: {few(snapshot.unreached)}"
        )
    return remarks


def _summarise(
    model: PreTrainedModel,
    snapshot: DenseSnapshot,
    matrices: tuple[MatrixOutcome, ...],
    logits: Logits,
    outputs: Mapping[str, OutputError],
    warnings: tuple[str, ...],
    *,
    verified: bool,
) -> Realised:
    n_weights = {matrix.name: math.prod(matrix.shape) for matrix in matrices}
    here = [matrix for matrix in matrices if matrix.sparsity is not None]
    n_here = sum(n_weights[matrix.name] for matrix in here)
    bits = sum(n_weights[matrix.name] * (matrix.effective_bits or 0) for matrix in here)
    changed = sum(n_weights[matrix.name] for matrix in matrices if matrix.changed)
    return Realised(
        verified=verified,
        target_matrices=len(matrices),
        coverage=changed / (sum(n_weights.values()) + sum(snapshot.unreached.values())),
        sparsity=sum(n_weights[matrix.name] * (matrix.sparsity or 0) for matrix in here) / max(n_here, 1),
        effective_bits=bits / max(n_here, 1),
        weight_error=_total_error(here),
        output_error=OutputError.total(outputs.values()),
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
    actual = sum(stored_nbytes(tensor) for _, tensor in held_tensors(model))
    # No parameter or buffer lists what bitsandbytes keeps beside its weights.
    actual += sum(tensor.nbytes for layer in layers for tensor in layer.quantisation_tensors)
    places = [(where, matrix.kept_shape[1]) for matrix in here if (where := name_now(model, matrix.name)) is not None]
    as_stored = sum(layer.stored_bytes for place in places if (layer := layer_at(model, *place)) is not None)
    as_bits = sum(math.prod(matrix.shape) * (matrix.effective_bits or 0) for matrix in here)
    return WeightBytes(snapshot.size_bytes, actual, actual - as_stored + math.ceil(as_bits / 8))


def _norm(tensor: Tensor) -> float:
    return torch.linalg.vector_norm(tensor, dtype=torch.float64).item()
