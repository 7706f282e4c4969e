"""What compression does to the outputs of each linear layer, on calibration text.

For every target matrix, over the inputs x that the layer gets in the compressed model:

    output error = sqrt( sum_x |y - (W_dense x + b)|^2 / sum_x |W_dense x|^2 )

with y what the layer really gives: rounding of activations and whatever else a kernel does is in it. This is the error
that SparseGPT, GPTQ and their kin minimise, layer by layer, where the weight error counts all inputs alike. The inputs
are the compressed model's, since those are what the layer will see.

Where a layer has become smaller, x and y are zero at what was taken out: outputs that are missing count as errors, and
what missing inputs would have added is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..calibration import Calibration
from ..sites import last_hidden
from ..structure import KeptFeatures, kept_features, name_now
from .snapshot import DenseSnapshot


@dataclass
class OutputError:
    """Sums over the inputs of one layer."""

    squared_error: float = 0.0
    squared_output: float = 0.0

    @property
    def relative(self) -> float | None:
        """The root of the ratio; None where nothing was seen or the dense layer gives zero."""
        return math.sqrt(self.squared_error / self.squared_output) if self.squared_output > 0 else None

    @classmethod
    def total(cls, errors: Iterable[OutputError]) -> float | None:
        """The relative error of all layers together; None where some layer has none: it would look too good."""
        parts = list(errors)
        if any(part.relative is None for part in parts):
            return None
        return cls(sum(part.squared_error for part in parts), sum(part.squared_output for part in parts)).relative


@torch.no_grad()
def output_errors(
    model: PreTrainedModel, snapshot: DenseSnapshot, windows: Sequence[Int[Tensor, " _position"]]
) -> dict[str, OutputError]:
    """The output error of every target matrix by its name in the dense model.

    A layer that is gone, or that takes or gives other widths and does not say which features it kept, has no sums.
    """
    errors = {name: OutputError() for name in snapshot.shapes}
    if not windows:
        return errors
    valid: list[Tensor] = []  # which rows of the batch at hand are no padding
    with ExitStack() as stack:
        for name, error in errors.items():
            where = name_now(model, name)
            module = _module(model, where)
            if where is not None and module is not None:
                before, after = _watch(name, kept_features(model, where), error, snapshot, valid)
                # First of all hooks on the way in: a hook that rounds activations belongs to what is measured.
                stack.callback(module.register_forward_pre_hook(before, prepend=True).remove)
                stack.callback(module.register_forward_hook(after).remove)
        for batch in Calibration(windows).batches():
            valid[:] = [batch.valid.flatten().to(model.device)]
            last_hidden(model, batch.tokens.to(model.device))
    return errors


def _module(model: PreTrainedModel, name: str | None) -> nn.Module | None:
    try:
        return None if name is None else model.get_submodule(name)
    except AttributeError:
        return None


def _watch(
    name: str, kept: KeptFeatures, error: OutputError, snapshot: DenseSnapshot, valid: Sequence[Tensor]
) -> tuple[Callable[[nn.Module, tuple[Any, ...]], None], Callable[[nn.Module, tuple[Any, ...], Any], None]]:
    inputs: list[Tensor] = []

    def before(_module: nn.Module, args: tuple[Any, ...]) -> None:
        inputs[:] = [args[0].reshape(-1, args[0].shape[-1])[valid[0]].float()]

    def after(module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        given = output.reshape(-1, output.shape[-1])[valid[0]].float()
        dense = snapshot.matrix(name).to(given.device, torch.float32)
        rows, columns = kept.of(dense)
        if (given.shape[1], inputs[0].shape[1]) != (len(rows), len(columns)):
            return
        wanted = inputs[0] @ dense[:, columns].T
        bias = getattr(module, "bias", None)
        without_bias = torch.zeros_like(wanted)
        without_bias[:, rows] = given if bias is None else given - bias.float()
        error.squared_error += (without_bias - wanted).square().sum(dtype=torch.float64).item()
        error.squared_output += wanted.square().sum(dtype=torch.float64).item()

    return before, after
