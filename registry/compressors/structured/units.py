"""Taking units out of every block, the least useful first: groups of heads, or neurons of the MLP.

A unit u is some inputs of a projection W_out into the residual stream, and all that they are computed from. Without it
the block gives what it would give with zeros in these columns of W_out, and all matrices of such units are smaller.
Scores:

    contribution_u = sum_t |W_u x_u,t|^2 = tr(W_u G_u W_u^T),  G_u = sum_t x_u,t x_u,t^T
    magnitude_u = |W_u|_F

with W_u the columns of u and x_u,t its inputs at token t of the calibration text: the energy that the unit adds to the
residual stream, and what is known of it without text. The first for a single column j is (|X_j|_2 |W_j|_2)^2: Wanda's
score summed, in squares, over a column. Blocks are treated one after the other, each on the outputs of the changed
blocks before it where the calibration's propagation is sequential.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from ...calibration import Block, Calibration
from ...errors import RegistryError
from ...families import Units, blocks_of, family_of
from ...structure import KeptFeatures
from ..linear import LinearLayer, linear_layers
from ..promise import count_of
from ..simulated.masks import lowest
from .smaller import keep_features

Ratio = Annotated[float, Field(gt=0, lt=1, description="share of the units of each block taken out")]
Score = Literal["contribution", "magnitude"]


@dataclass(frozen=True)
class UnitLayers:
    """The linear layers of a block that are made of a kind of units."""

    units: Units
    givers: tuple[str, ...]
    """Paths, within the block, of those whose outputs belong to units."""
    parts: int
    """Outputs of a giver are ordered as `[part, unit, channel]`."""
    taker: str
    """The one whose inputs belong to units, ordered as `[unit, channel]`."""
    width: int
    """Inputs of the taker that make up a unit."""
    counts: tuple[str, ...] = ()
    """Attributes, of the module that the taker is part of, that grow with the number of units."""


def remove_units(
    model: PreTrainedModel, calibration: Calibration | None, layers: UnitLayers, ratio: float, score: Score
) -> None:
    """Take `floor(ratio * units)` units out of every block, those of lowest score, of equal ones the first.

    Raises:
        RegistryError: so small a share that it is no unit, or no calibration text where the score needs it.
    """
    for index, block in _walk(model, calibration, score):
        scores = _scores(_layer(model, index, layers.taker), layers.width, block)
        count = count_of(ratio, len(scores))
        if count == 0:
            raise RegistryError(_too_few(layers, ratio, len(scores)))
        kept = lowest(scores[None], count)[0].logical_not().nonzero()[:, 0].cpu()
        _keep(model, index, layers, kept, len(scores))


def needs_calibration(params: dict[str, Any]) -> bool:
    """Whether the score reads text."""
    return params.get("score", "contribution") == "contribution"


def _walk(model: PreTrainedModel, calibration: Calibration | None, score: Score) -> Iterator[tuple[int, Block | None]]:
    """The blocks, first to last, with what runs them on calibration text where the score needs that."""
    if score == "magnitude":
        yield from ((index, None) for index in range(len(blocks_of(model))))
        return
    if calibration is None:
        raise RegistryError("The score 'contribution' needs calibration text, and none was given.")
    yield from ((block.index, block) for block in calibration.blocks(model))


def _scores(taker: LinearLayer, width: int, block: Block | None) -> Float[Tensor, " unit"]:
    columns = taker.weight.float().unflatten(1, (-1, width))
    if block is None:
        return columns.square().sum(dim=(0, 2)).sqrt()
    gram = columns.new_zeros(columns.shape[1], width, width)

    def add(name: str, inputs: Float[Tensor, "token in_features"]) -> None:
        if name == taker.name:
            by_unit = inputs.float().unflatten(1, (-1, width)).transpose(0, 1)
            gram.add_(by_unit.mT @ by_unit)

    block.observe(add)
    by_unit = columns.transpose(0, 1)
    return (by_unit @ gram * by_unit).sum(dim=(1, 2))


def _keep(model: PreTrainedModel, index: int, layers: UnitLayers, kept: Int[Tensor, " left"], n_units: int) -> None:
    path = f"{family_of(model.config).blocks}.{index}"
    for giver in layers.givers:
        n_outputs = _layer(model, index, giver).shape[0]
        outputs = torch.arange(n_outputs).view(layers.parts, n_units, -1)[:, kept].flatten()
        keep_features(model, f"{path}.{giver}", KeptFeatures(outputs=outputs))
    inputs = torch.arange(n_units * layers.width).view(n_units, -1)[kept].flatten()
    keep_features(model, f"{path}.{layers.taker}", KeptFeatures(inputs=inputs))
    owner = model.get_submodule(f"{path}.{layers.taker}".rpartition(".")[0])
    for name in layers.counts:
        setattr(owner, name, getattr(owner, name) * len(kept) // n_units)


def _layer(model: PreTrainedModel, index: int, path: str) -> LinearLayer:
    return next(layer for layer in linear_layers(blocks_of(model)[index]) if layer.name == path)


def _too_few(layers: UnitLayers, ratio: float, n_units: int) -> str:
    what = "neurons" if layers.units == "neurons" else "groups of heads that share a key-value head"
    if n_units == 1:
        return f"Of {what}, a block has a single one, which cannot be taken out."
    return f"A share of {ratio} of {n_units} {what} is none. Give a `ratio` of at least 1/{n_units}."
