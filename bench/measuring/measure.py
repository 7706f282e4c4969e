"""The measuring pass: a state's text streamed once for all its SAEs and all tasks.

The layers before a site are never run again: what is spliced in is replayed through the layers after it, from the
activations of the reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from sae_lens import SAE
from torch import Tensor
from transformers import PreTrainedModel

from ...registry import sites
from ...registry.saes.decoder import decoder_rows
from ...registry.saes.inputs import reconstruct
from ...registry.saes.structured import placed
from ...registry.sites import Site
from ...registry.unembedding import Unembedding
from ...registry.windows import Batch
from ...tasks.batch import CellBatch, Dictionaries, SiteBatch, StateBatch
from ...tasks.predictions import Predictions
from ...tasks.settling import Losses
from ...tasks.task import Meter, Sums, TextTask
from ..running.artifact_keys import HIDDEN
from ..running.memory import Sweeper
from .ablation import Ablations, ByPosition
from .batching import with_room
from .moving import onto
from .reading import Reading


@dataclass(frozen=True)
class Named:
    """An SAE with its name, by which what it makes of a batch is known."""

    name: str
    sae: SAE


@dataclass(frozen=True)
class Subject:
    """One SAE to be measured on the state, and those it is compared with."""

    name: str
    site: Site
    """Where it reads in the state."""
    sae: SAE
    dense_site: Site
    """Where it reads in the dense model, which may have more blocks."""
    origin: Named | str
    """The frozen SAE whose latents this one's are; or why there is none."""
    counterpart: Named | str
    """The frozen SAE at the same site; or why there is none."""


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
    saes = [subject.sae for subject in subjects]
    return with_room(
        model, saes, lambda positions: _counted(model, reading, dense_reading, subjects, tasks, positions, progress)
    )


def _counted(
    model: PreTrainedModel,
    reading: Reading,
    dense_reading: Reading | None,
    subjects: Sequence[Subject],
    tasks: Sequence[TextTask],
    max_positions: int,
    progress: Callable[[float], None],
) -> dict[str, dict[str, Sums]]:
    """The pass itself, in batches of at most so many padded positions."""
    windows = reading.windows
    meters: dict[str, dict[str, Meter]] = {
        subject.name: {task.name: task.meter(windows.n_units) for task in tasks} for subject in subjects
    }
    dictionaries = {subject.name: _dictionaries(subject) for subject in subjects}
    ablations = {subject.site: Ablations(model, reading, subject.site) for subject in subjects}
    sweeper, done = Sweeper(), 0
    for batch in windows.batches(max_positions):
        state = _state_batch(model, batch, reading, dense_reading)
        for place in dict.fromkeys((subject.site, subject.dense_site) for subject in subjects):
            site = _site_batch(model, batch, reading, dense_reading, place, state, ablations[place[0]])
            here = [subject for subject in subjects if (subject.site, subject.dense_site) == place]
            for name, cell in _cells(site, here, dictionaries, is_dense=dense_reading is None):
                for meter in meters[name].values():
                    meter.update(cell)
                del cell  # its latents are as large as what predictions need, and the next one's come before it goes
        state.predictions.settle()
        sweeper.sweep()
        done += len(batch.rows)
        progress(done / len(windows.tokens))
    return {name: {task: meter.sums() for task, meter in of_task.items()} for name, of_task in meters.items()}


def _dictionaries(subject: Subject) -> Dictionaries:
    def rows(other: Named | str) -> Float[Tensor, "_ _"] | str:
        return other if isinstance(other, str) else decoder_rows(other.sae)

    return Dictionaries(decoder_rows(subject.sae), rows(subject.origin), rows(subject.counterpart))


def _cells(
    site: SiteBatch, subjects: Sequence[Subject], dictionaries: Mapping[str, Dictionaries], is_dense: bool
) -> Iterator[tuple[str, CellBatch]]:
    """What each SAE makes of a batch; what several are compared with is computed once, and kept no longer."""
    needs = {subject.name: _needed(subject) for subject in subjects}
    shared = {name for subject in subjects for name in needs[subject.name][1:]}
    ordered = sorted(subjects, key=lambda subject: (needs[subject.name][-1], subject.name not in shared))
    last_use = {name: index for index, subject in enumerate(ordered) for name in needs[subject.name]}
    kept: dict[str, CellBatch] = {}
    on_dense: dict[str, Float[Tensor, "token d_sae"]] = {}

    def on_state_of(other: Named) -> Float[Tensor, "token d_sae"]:
        return kept[other.name].features if other.name in kept else other.sae.encode(site.activations).float()

    def on_dense_of(other: Named) -> Float[Tensor, "token d_sae"]:
        if is_dense:
            return on_state_of(other)
        if other.name not in on_dense:
            on_dense[other.name] = other.sae.encode(site.dense_activations).float()
        return on_dense[other.name]

    for index, subject in enumerate(ordered):
        origin, counterpart = subject.origin, subject.counterpart
        cell = CellBatch(
            site,
            dictionaries[subject.name],
            encode=subject.sae.encode,
            decode=partial(reconstruct, subject.sae, activations=site.activations),
            origin=None if isinstance(origin, str) else partial(on_dense_of, origin),
            placed=None if isinstance(origin, str) else partial(placed, subject.sae, origin.sae.cfg.d_sae),
            counterpart=None if isinstance(counterpart, str) else partial(on_state_of, counterpart),
        )
        if subject.name in shared:
            kept[subject.name] = cell
        yield subject.name, cell
        # Cells refer to what is kept, and that to cells: left so, they would pile up until the collector comes by.
        for name in needs[subject.name]:
            if last_use[name] == index:
                kept.pop(name, None)
                on_dense.pop(name, None)


def _needed(subject: Subject) -> list[str]:
    """Names of the SAEs whose latents one needs, its own first."""
    others = (subject.origin, subject.counterpart)
    return [subject.name, *(other.name for other in others if not isinstance(other, str))]


def _state_batch(model: PreTrainedModel, batch: Batch, reading: Reading, dense_reading: Reading | None) -> StateBatch:
    device, valid = model.device, batch.valid
    position = torch.arange(valid.shape[1]).expand_as(valid)[valid]

    def hidden_of(source: Reading) -> Callable[[], Float[Tensor, "token d_model"]]:
        return lambda: onto(device, source.rows(HIDDEN, batch)[valid])

    return StateBatch(
        unit=batch.unit[valid].to(device),
        scored=batch.scored[valid].to(device),
        predictions=Predictions(
            targets=batch.tokens.roll(-1, dims=1)[valid].to(device),
            scored=batch.scored[valid].to(device),
            position=position.to(device),
            state_hidden=hidden_of(reading),
            dense_hidden=None if dense_reading is None else hidden_of(dense_reading),
            unembedding=Unembedding(model),
        ),
    )


def _site_batch(
    model: PreTrainedModel,
    batch: Batch,
    reading: Reading,
    dense_reading: Reading | None,
    place: tuple[Site, Site],
    state: StateBatch,
    ablations: Ablations,
) -> SiteBatch:
    device, (site, dense_site) = model.device, place
    valid, tokens = batch.valid.to(device), batch.tokens.to(device)
    own = onto(device, reading.rows(site.name, batch))
    stream = onto(device, reading.rows(sites.replay_needs(site).name, batch))

    def run(spliced: Float[Tensor, "batch position channel"]) -> Float[Tensor, "token d_model"]:
        return sites.last_hidden_spliced(model, tokens, site, spliced, stream)[valid]

    def splice(replacement: Float[Tensor, "token channel"]) -> Float[Tensor, "token d_model"]:
        return run(own.masked_scatter(valid[..., None], replacement.to(own.dtype)))

    def ablate(by_position: ByPosition | None, hidden: Callable[[], Float[Tensor, "token d_model"]]) -> Losses:
        ask = state.predictions
        return ask.ask(hidden()) if by_position is None else ask.ask_by_position(by_position)

    activations, mean = own[valid], reading.means[site].to(device)
    return SiteBatch(
        state,
        activations=activations,
        mean=mean,
        splice=splice,
        zero=lambda: ablate(ablations.zero, lambda: run(torch.zeros_like(own))),
        mean_ablation=lambda: ablate(ablations.mean, lambda: splice(mean.expand_as(activations))),
        dense_activations=None
        if dense_reading is None
        else lambda: onto(device, dense_reading.rows(dense_site.name, batch)[batch.valid]),
    )
