"""Removal of neurons of the MLP."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from ...calibration import Calibration
from ...families import family_of
from ..method import Method
from ..promise import Promise, Removal
from .units import Ratio, Score, UnitLayers, needs_calibration, remove_units


def neurons(
    model: PreTrainedModel, calibration: Calibration | None, *, ratio: Ratio, score: Score = "contribution"
) -> PreTrainedModel:
    """Take a share of the neurons out of every MLP: rows of its matrices in (gate and up), columns of the one out.

    Neurons are ranked by `|X_j|_2 |W_j|_2`, with X_j what neuron j gives over all calibration tokens and W_j its column
    of the matrix out: the l2 form of Wanda-sp, the structured Wanda of An et al. 2023, "Fluctuation-based Adaptive
    Structured Pruning for Large Language Models" (FLAP), arXiv 2312.11983.

    Args:
        ratio: of the neurons; rounded down.
        score: as above, or `|W_j|_2` alone.

    Raises:
        RegistryError: a share that comes to no neuron.
    """
    wiring = family_of(model.config).wiring
    layers = UnitLayers("neurons", givers=wiring.neurons_in, parts=1, taker=wiring.neurons_out, width=1)
    remove_units(model, calibration, layers, ratio, score)
    return model


def _promise(params: dict[str, Any]) -> Promise:
    return Promise(removes=(Removal(params["ratio"], "neurons"),))


NEURONS = Method(
    name="neurons",
    function=neurons,
    tier="structured",
    needs_calibration=needs_calibration,
    summary="takes out the MLP neurons that add least to the residual stream; matrices become smaller",
    source="https://arxiv.org/abs/2312.11983",
    promise=_promise,
)
