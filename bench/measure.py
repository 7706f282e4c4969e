"""The measuring pass: a state's text streamed once for all its SAEs and all tasks.

The layers before a site are never run again: what is spliced in is replayed through the layers after it, from the
activations of the reading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from sae_lens import SAE
from torch import Tensor
from transformers import PreTrainedModel

from ..registry import sites
from ..registry.sites import Site
from ..registry.windows import Batch
from ..tasks.batch import CellBatch, Dictionaries, SiteBatch, StateBatch, float_log_probs
from ..tasks.task import Meter, Sums, TextTask
from .reading import HIDDEN, Reading, max_positions


@dataclass(frozen=True)
class Subject:
    """One SAE to be measured on the state."""

    name: str
    site: Site
    sae: SAE

    @property
    def dictionaries(self) -> Dictionaries:
        """Its decoder."""
        return Dictionaries(self.sae.W_dec.detach(), "no origin", "no counterpart")


@torch.inference_mode()
def measure(
    model: PreTrainedModel,
    reading: Reading,
    dense_reading: Reading | None,
    subjects: Sequence[Subject],
    tasks: Sequence[TextTask],
    progress: Callable[[float], None],
) -> dict[str, dict[str, Sums]]:
    """The sums of every task on every subject: subject -> task -> sums.

    Args:
        reading: of this state on the text.
        dense_reading: of the dense state on the same windows; None where this state is the dense one.
    """
    windows = reading.windows
    meters: dict[str, dict[str, Meter]] = {
        subject.name: {task.name: task.meter(windows.n_units) for task in tasks} for subject in subjects
    }
    done = 0
    for batch in windows.batches(max_positions(model)):
        state = _state_batch(model, batch, reading, dense_reading)
        for site in dict.fromkeys(subject.site for subject in subjects):
            site_batch = _site_batch(model, batch, reading, site, state)
            for subject in subjects:
                if subject.site == site:
                    cell = CellBatch(
                        site_batch, subject.dictionaries, encode=subject.sae.encode, decode=subject.sae.decode
                    )
                    for meter in meters[subject.name].values():
                        meter.update(cell)
        done += len(batch.rows)
        progress(done / len(windows.tokens))
    return _sums(meters)


def _sums(meters: Mapping[str, Mapping[str, Meter]]) -> dict[str, dict[str, Sums]]:
    return {name: {task: meter.sums() for task, meter in of_task.items()} for name, of_task in meters.items()}


def _state_batch(model: PreTrainedModel, batch: Batch, reading: Reading, dense_reading: Reading | None) -> StateBatch:
    device, valid = model.device, batch.valid

    def hidden_of(source: Reading) -> Callable[[], Float[Tensor, "token d_model"]]:
        return lambda: source.rows(HIDDEN, batch)[valid].to(device)

    return StateBatch(
        unit=batch.unit[valid].to(device),
        scored=batch.scored[valid].to(device),
        targets=batch.tokens.roll(-1, dims=1)[valid].to(device),
        state_hidden=hidden_of(reading),
        dense_hidden=None if dense_reading is None else hidden_of(dense_reading),
        log_probs=lambda hidden: float_log_probs(sites.logits_of(model, hidden)),
    )


def _site_batch(model: PreTrainedModel, batch: Batch, reading: Reading, site: Site, state: StateBatch) -> SiteBatch:
    device = model.device
    valid, tokens = batch.valid.to(device), batch.tokens.to(device)
    own = reading.rows(site.name, batch).to(device)
    stream = reading.rows(sites.replay_needs(site).name, batch).to(device)

    def run(spliced: Float[Tensor, "batch position channel"]) -> Float[Tensor, "token d_model"]:
        return sites.last_hidden_spliced(model, tokens, site, spliced, stream)[valid]

    def splice(replacement: Float[Tensor, "token channel"]) -> Float[Tensor, "token d_model"]:
        return run(own.masked_scatter(valid[..., None], replacement.to(own.dtype)))

    return SiteBatch(
        state,
        activations=own[valid],
        mean=reading.means[site].to(device),
        splice=splice,
        splice_zero=lambda: run(torch.zeros_like(own)),
    )
