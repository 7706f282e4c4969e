"""How many positions are run at once: as many as there is room for, and fewer when that was too many.

No figure depends on it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from sae_lens import SAE
from transformers import PreTrainedModel

from ..running import memory

T = TypeVar("T")

_MOST_POSITIONS = {"cpu": 4096, "cuda": 65_536}
"""More make nothing faster."""
_CPU_NUMBERS = 12 * 2**20
"""Numbers in the widest tensor of a batch: 48 MB. A handful of them are alive at a time."""
_CUDA_SHARE = 0.1
"""Of the free memory, for the widest tensor."""


def with_room(model: PreTrainedModel, saes: Iterable[SAE], run: Callable[[int], T]) -> T:
    """Run a pass with batches of so many positions; begin it anew with half as many when memory runs out.

    Longest windows come first, so that little is lost when it does.

    Args:
        model: whose batches they are.
        saes: that read them: their latents may be wider than anything in the model.
        run: the pass, which is given the padded positions of a batch and leaves nothing behind when it fails.

    Raises:
        MemoryError | RuntimeError: there is no memory for a single position; and whatever else `run` raises.
    """
    positions = max_positions(model, list(saes))
    while True:
        try:
            return run(positions)
        except (MemoryError, RuntimeError, OSError) as error:
            if not memory.ran_out(error) or positions == 1:
                raise
        positions //= 2
        # Outside the handler, where nothing refers any more to what the failed pass has left.
        gc.collect()
        if model.device.type == "cuda":
            torch.cuda.empty_cache()


def max_positions(model: PreTrainedModel, saes: Sequence[SAE]) -> int:
    """Padded positions of a batch for which there is room, by the widest tensor that it makes."""
    config = model.config
    widths = [config.hidden_size, getattr(config, "intermediate_size", None) or 4 * config.hidden_size]
    widest = max([*widths, *(sae.cfg.d_sae for sae in saes)])
    if model.device.type == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(model.device)
        room = int(free_bytes * _CUDA_SHARE) // 4 // widest
        return max(1, min(_MOST_POSITIONS["cuda"], room))
    return max(1, min(_MOST_POSITIONS["cpu"], _CPU_NUMBERS // widest))
