"""An SAE in a running model: whatever calls the model for the time of a context runs with it.

The measuring pass replays layers and knows its windows; other callers (lm-eval, `generate`) make batches of their own.
What stands at which position is therefore read off the token ids as they enter the model: text passes through the SAE,
special tokens (BOS, EOS, padding) keep their own activations, as everywhere here. That holds for padding on either
side, and for generation with a cache, where only the new tokens enter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..sites import Site, edit

if TYPE_CHECKING:
    from sae_lens import SAE


@contextmanager
def spliced(model: PreTrainedModel, site: Site, sae: SAE[Any], special_ids: Collection[int]) -> Iterator[None]:
    """For the time of the context, the SAE's reconstruction stands at `site` wherever the model reads text.

    Args:
        site: where it is in this model (`sites.locate`).
        special_ids: tokens that are no text (`windows.special_ids`).

    Raises:
        TypeError: the model is called without token ids, which alone say what is text.
    """
    text: list[Bool[Tensor, "batch position"]] = []
    special = torch.tensor(sorted(special_ids), dtype=torch.long, device=model.device)

    def note(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tokens = args[0] if args else kwargs.get("input_ids")
        if tokens is None:
            raise TypeError("A model with an SAE in it must be called with token ids, not with embeddings.")
        text[:] = [~torch.isin(tokens, special)]

    def change(hidden: Float[Tensor, "batch position channel"]) -> Float[Tensor, "batch position channel"] | None:
        (here,) = text
        if not here.any():
            return None
        rebuilt = sae.decode(sae.encode(hidden[here]))
        return hidden.masked_scatter(here[..., None], rebuilt.to(hidden.dtype))

    # On the inner model: it is called by the whole one, and may be called alone.
    handle = model.base_model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        with edit(model, site, change):
            yield
    finally:
        handle.remove()
