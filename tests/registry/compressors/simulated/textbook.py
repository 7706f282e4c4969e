"""Slow definitions: float64, one column after the other, every inverse anew, inputs from whole passes of the model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers import PreTrainedModel

from saetransfer.registry.calibration import Calibration
from saetransfer.registry.compressors.linear import LinearLayer, linear_layers
from saetransfer.registry.families import blocks_of

Matrix = torch.Tensor
Rounding = Callable[[Matrix], Matrix]


def correlated(n_tokens: int, n_features: int, seed: int = 0) -> Matrix:
    """Inputs whose features depend on each other and differ in size, `[token, feature]`."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(n_features, n_features, generator=generator) / n_features**0.5 + torch.eye(n_features)
    sizes = torch.rand(n_features, generator=generator) * 2 + 0.1
    return torch.randn(n_tokens, n_features, generator=generator) @ mixing * sizes


def inputs_of(model: PreTrainedModel, layer: LinearLayer, text: Calibration) -> Matrix:
    """What a layer is given in passes of the whole model over each window alone, `[token, feature]`, float64."""
    seen: list[torch.Tensor] = []
    handle = layer.module.register_forward_pre_hook(lambda _module, args: seen.append(args[0].double()[0]))
    with torch.no_grad():
        for window in text.windows:
            model(window[None], use_cache=False)
    handle.remove()
    return torch.cat(seen)


def sequentially(
    model: PreTrainedModel, text: Calibration, change: Callable[[LinearLayer, Matrix], Matrix]
) -> dict[str, Matrix]:
    """Every matrix changed in place, block by block, all of a block by the inputs that the unchanged block gives."""
    results: dict[str, Matrix] = {}
    for index in range(len(blocks_of(model))):
        inside = [layer for layer in linear_layers(model) if f".{index}." in layer.name]
        for layer in inside:
            results[layer.name] = change(layer, inputs_of(model, layer, text))
        for layer in inside:
            layer.set_weight(results[layer.name].to(layer.weight.dtype))
    return results


def damped_hessian(inputs: Matrix) -> Matrix:
    hessian = inputs.double().T @ inputs.double()
    hessian += torch.diag((hessian.diagonal() == 0).double())
    return hessian + 0.01 * hessian.diagonal().mean() * torch.eye(len(hessian), dtype=torch.float64)


def sparsegpt(weight: Matrix, inputs: Matrix, sparsity: float | tuple[int, int], block: int = 128) -> Matrix:
    """SparseGPT: the mask of a block of columns (or of M) by the weights as they are when it is reached."""
    hessian, left = damped_hessian(inputs), weight.double().clone()
    left[:, (inputs == 0).all(dim=0)] = 0
    n_columns = left.shape[1]
    # What pruning a weight costs, when all columns before it are settled: w^2 over this.
    curvature = torch.stack([torch.linalg.inv(hessian[j:, j:])[0, 0] for j in range(n_columns)])
    width = sparsity[1] if isinstance(sparsity, tuple) else block
    mask = torch.zeros_like(left, dtype=torch.bool)
    for j in range(n_columns):
        if j % width == 0:
            scores = left[:, j : j + width] ** 2 / curvature[j : j + width]
            mask = smallest(scores, sparsity)
        left = settled(left, hessian, j, torch.where(mask[:, j % width], 0.0, left[:, j]))
    return left


def smallest(scores: Matrix, sparsity: float | tuple[int, int]) -> Matrix:
    if isinstance(sparsity, tuple):
        kept, size = sparsity
        order = scores.argsort(dim=1)
        return torch.zeros_like(scores, dtype=torch.bool).scatter(1, order[:, : size - kept], True)
    # The published code compares with the value at that place, itself included.
    return scores <= scores.flatten().sort().values[int(scores.numel() * sparsity)]


def settled(left: Matrix, hessian: Matrix, j: int, values: Matrix) -> Matrix:
    """Optimal brain surgeon: column j takes `values`, and the columns after it make that good as best they can."""
    inverse = torch.linalg.inv(hessian[j:, j:])
    change = (values - left[:, j]) / inverse[0, 0]
    left = left.clone()
    left[:, j:] += change[:, None] * inverse[0]
    left[:, j] = values
    return left


def gptq(weight: Matrix, inputs: Matrix, fit: Callable[[Matrix, int], Rounding], group: int) -> Matrix:
    """GPTQ: `fit(columns, first)` makes a grid of a group of columns as they are, which rounds a column."""
    hessian, left = damped_hessian(inputs), weight.double().clone()
    left[:, (inputs == 0).all(dim=0)] = 0
    rounded = fit(left[:, :group], 0)
    for j in range(left.shape[1]):
        if j % group == 0:
            rounded = fit(left[:, j : j + group], j)
        left = settled(left, hessian, j, rounded(left[:, j]))
    return left


def grid_of(columns: Matrix, bits: int, symmetric: bool) -> Rounding:
    """The uniform grid of each row of `columns`, by its definition."""
    low, high = columns.amin(dim=1).clamp(max=0), columns.amax(dim=1).clamp(min=0)
    if symmetric:
        top = 2 ** (bits - 1) - 1
        scale = torch.maximum(-low, high) / top
        return lambda values: scale * (values / scale).round().clamp(-top, top)
    scale = (high - low) / (2**bits - 1)
    zero = (-low / scale).round()
    return lambda values: scale * (((values / scale).round() + zero).clamp(0, 2**bits - 1) - zero)
