"""A reading: the activations of one state on all windows of a text, on disk.

So memory does not grow with the text. Positions of all windows are laid end to end without padding, in the model's
dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from ...registry import sites
from ...registry.sites import Site
from ...registry.windows import Batch, Windows
from ..running.artifact_keys import HIDDEN
from .batching import with_room
from .disk_array import DiskArray


class Reading:
    """Arrays `[position, channel]` by name, on disk; their widths differ."""

    def __init__(self, windows: Windows, arrays: Mapping[str, DiskArray]) -> None:
        self.windows = windows
        self._arrays = arrays
        self.means: dict[Site, Float[Tensor, " channel"]] = {}
        """Mean activation at each site over the valid tokens, float32."""

    def rows(self, name: str, batch: Batch) -> Float[Tensor, "batch position channel"]:
        """The activations of a batch, zeros where it is padded."""
        array = self._arrays[name]
        out = torch.zeros(*batch.tokens.shape, array.shape[1], dtype=array.dtype)
        array.read((start, out[index, :length]) for index, start, length in self._spans(batch))
        return out

    def keep(self, batch: Batch, found: Mapping[str, Float[Tensor, "batch position _"]]) -> None:
        """Store what was found on a batch, by name, without its padding."""
        for name, values in found.items():
            on_cpu = values.cpu().contiguous()
            self._arrays[name].write((start, on_cpu[index, :length]) for index, start, length in self._spans(batch))

    def _spans(self, batch: Batch) -> Iterator[tuple[int, int, int]]:
        """Index in the batch, first position in the arrays, and length of every window of a batch."""
        for index, row in enumerate(batch.rows.tolist()):
            yield index, self.windows.starts[row], len(self.windows.tokens[row])


@torch.inference_mode()
def read(
    model: PreTrainedModel,
    windows: Windows,
    wanted: Sequence[Site],
    folder: Path,
    progress: Callable[[float], None],
) -> Reading:
    """Run a state over all windows, once, and keep what is needed of it in `folder`.

    Kept are the final hidden states, every wanted site, and the residual stream from which the blocks after it can be
    replayed.
    """
    kept = sorted({*wanted, *(sites.replay_needs(site) for site in wanted)})
    widths = {HIDDEN: model.config.hidden_size} | {site.name: site.width(model.config) for site in kept}
    arrays = {
        name: DiskArray(folder / f"{name}.bin", (windows.n_positions, width), model.dtype, new=True)
        for name, width in widths.items()
    }
    reading = Reading(windows, arrays)
    reading.means = with_room(model, [], lambda positions: _fill(reading, model, wanted, kept, positions, progress))
    return reading


def _fill(
    reading: Reading,
    model: PreTrainedModel,
    wanted: Sequence[Site],
    kept: Sequence[Site],
    max_positions: int,
    progress: Callable[[float], None],
) -> dict[Site, Float[Tensor, " channel"]]:
    """Write all arrays of a reading; gives the mean activation at each wanted site over the valid tokens."""
    windows = reading.windows
    sums = {site: torch.zeros(site.width(model.config), dtype=torch.float64) for site in wanted}
    n_valid = done = 0
    with sites.capture(model, kept) as captured:
        for batch in windows.batches(max_positions):
            hidden = sites.last_hidden(model, batch.tokens.to(model.device))
            reading.keep(batch, {HIDDEN: hidden} | {site.name: captured[site] for site in kept})
            for site in wanted:
                sums[site] += captured[site].cpu()[batch.valid].double().sum(dim=0)
            n_valid += int(batch.valid.sum())
            done += len(batch.rows)
            progress(done / len(windows.tokens))
    return {site: (total / max(n_valid, 1)).float() for site, total in sums.items()}
