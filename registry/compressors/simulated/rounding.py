"""Round-to-nearest (RTN): weights on a uniform grid of 2 to 8 bits, held as dense tensors."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from ...calibration import Calibration
from ..linear import linear_layers, refuse_odd_groups
from ..method import Method
from ..promise import Promise
from .grid import Bits, Grid, GroupSize, grid_promise


def rtn(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
    *,
    bits: Bits,
    group_size: GroupSize = None,
    symmetric: bool = True,
) -> PreTrainedModel:
    """Round every weight of the blocks' linear layers to the nearest level.

    Args:
        group_size: number of consecutive inputs that share a scale; None for a whole row.

    Raises:
        Impossible: a group size that does not divide the number of inputs of some layer; nothing is changed then.
    """
    layers = linear_layers(model)
    refuse_odd_groups(layers, group_size)
    for layer in layers:
        weight = layer.weight
        groups = weight.float().reshape(-1, group_size or weight.shape[1])
        layer.set_weight(Grid.fit(groups, bits, symmetric).snap(groups).view(weight.shape))
    return model


def _promise(params: dict[str, Any]) -> Promise:
    return grid_promise(params["bits"], params["group_size"], params["symmetric"])


RTN = Method(
    name="rtn",
    function=rtn,
    tier="simulated",
    needs_calibration=False,
    summary="rounds weights to the nearest of 2^bits levels, a scale for each row or group",
    source="baseline of arXiv 2210.17323",
    promise=_promise,
)
