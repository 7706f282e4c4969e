"""Removal of attention heads.

Where several query heads share a key-value head, such a group goes as a whole: what is left has the model's own form.
"""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from ...calibration import Calibration
from ...families import family_of
from ...sites import Site
from ..method import Method
from ..promise import Promise, Removal
from .units import Ratio, Score, UnitLayers, needs_calibration, remove_units


def heads(
    model: PreTrainedModel, calibration: Calibration | None, *, ratio: Ratio, score: Score = "contribution"
) -> PreTrainedModel:
    """Take a share of the attention heads out of every block; the matrices become smaller.

    That trained models keep most of their quality without many of their heads: Michel et al. 2019, "Are Sixteen Heads
    Really Better than One?", arXiv 1905.10650. Their score is the gradient of the loss with respect to a mask; this one
    needs no gradient.

    Args:
        ratio: of the heads, or of the groups that share a key-value head; rounded down.
        score: the energy that the heads add to the residual stream, or the norm of their part of the output projection.

    Raises:
        RegistryError: a share that comes to no head.
    """
    family = family_of(model.config)
    wiring = family.wiring
    layers = UnitLayers(
        "heads",
        givers=wiring.heads_in,
        parts=wiring.head_parts,
        taker=family.attn_z,
        width=_group_width(model.config),
        counts=wiring.head_counts,
    )
    remove_units(model, calibration, layers, ratio, score)
    return model


def _group_width(config: PretrainedConfig) -> int:
    """Channels of `attn_z` that belong to one key-value head."""
    n_groups = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return Site(0, "attn_z").width(config) // n_groups


def _promise(params: dict[str, Any]) -> Promise:
    return Promise(removes=(Removal(params["ratio"], "heads"),))


HEADS = Method(
    name="heads",
    function=heads,
    tier="structured",
    needs_calibration=needs_calibration,
    summary="takes out the attention heads that add least to the residual stream; matrices become smaller",
    source="https://arxiv.org/abs/1905.10650",
    promise=_promise,
)
