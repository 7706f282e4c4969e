"""What a state is expected to need, for deciding how many fit and where."""

from __future__ import annotations

from .grid import StatePlan

_MODELS_HELD = 3
"""Model, activations and logits of a job at most, in sizes of the model: an estimate for how many jobs fit."""
_OTHERWISE_BYTES = 2**30


def memory_bytes(state: StatePlan) -> int | None:
    """Memory that a state needs at most, by a rule of thumb; None where the size of its model is not known."""
    size = state.model.weights_bytes
    return None if size is None else _MODELS_HELD * size + _OTHERWISE_BYTES
