"""Labelled examples on one state: read once for all its SAEs, one pooled vector of activations and latents each.

Pooled arrays lie on disk for the time of a job, so memory does not grow with the number of examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from sae_lens import SAE
from torch import Tensor
from transformers import PreTrainedModel

from ...registry import sites
from ...registry.saes.decoder import decoder_rows, encode_scaled
from ...registry.saes.structured import placed
from ...registry.sites import Site
from ...registry.windows import Batch, Windows
from ...tasks.examples import Examples, ExampleSet, Latents, SiteExamples, SiteSplit
from .batching import with_room

Split = Literal["train", "test"]


@dataclass(frozen=True)
class ExampleText:
    """One split of a set of examples, as token ids; every example has at least one position to be pooled."""

    windows: Windows
    labels: Mapping[str, Sequence[str | None]]
    positions: Sequence[int] | None = None
    """The one position of each example that counts; None: the mean over all its valid ones."""

    def pooled(self, batch: Batch) -> Bool[Tensor, "batch position"]:
        """Which positions of a batch count."""
        if self.positions is None:
            return batch.valid
        chosen = torch.tensor([self.positions[row] for row in batch.rows.tolist()])
        return torch.arange(batch.tokens.shape[1])[None] == chosen[:, None]


@dataclass(frozen=True)
class ExampleTexts:
    """Both splits of a set of examples."""

    set: ExampleSet
    splits: Mapping[Split, ExampleText]
    n_left_out: int
    """Examples without a single valid token."""


@dataclass(frozen=True)
class Reader:
    """An SAE that reads examples."""

    name: str
    site: Site
    sae: SAE
    d_sae: int
    """Latents of the SAE that it comes from; those that were taken out of it are silent and write nothing."""

    def placed(self, values: Float[Tensor, "row latent"]) -> Float[Tensor, "row latent_of_origin"]:
        """Values by latent at the places that the latents had before some were taken out."""
        return placed(self.sae, self.d_sae, values)


@torch.inference_mode()
def pool(
    model: PreTrainedModel,
    texts: Sequence[ExampleTexts],
    readers: Sequence[Reader],
    folder: Path,
    progress: Callable[[float], None],
) -> dict[str, dict[str, Examples]]:
    """Every set of examples as every SAE sees it: reader -> set -> examples."""
    found: dict[str, dict[str, Examples]] = {reader.name: {} for reader in readers}
    total = sum(len(split.windows.tokens) for text in texts for split in text.splits.values())
    done = 0

    def count(n_examples: int) -> None:
        nonlocal done
        done += n_examples
        progress(min(1.0, done / max(total, 1)))

    for text in texts:
        passes = {
            name: _Pass(model, split, readers, folder / f"{text.set.name}-{name}", count)
            for name, split in text.splits.items()
        }
        splits = {name: done_pass.run() for name, done_pass in passes.items()}
        shared = {
            site: SiteExamples(
                text.set,
                *(SiteSplit(text.splits[name].labels, splits[name].activations[site]) for name in ("train", "test")),
                n_left_out=text.n_left_out,
            )
            for site in {reader.site for reader in readers}
        }
        for reader in readers:
            found[reader.name][text.set.name] = Examples(
                shared[reader.site],
                *(splits[name].latents[reader.name] for name in ("train", "test")),
                decoder=reader.placed(decoder_rows(reader.sae).cpu().T).T.numpy(),
            )
    return found


@dataclass(frozen=True)
class _Pooled:
    activations: dict[Site, Float[np.ndarray, "example d_in"]]
    latents: dict[str, Latents]


class _Pass:
    """One split, read once."""

    def __init__(
        self,
        model: PreTrainedModel,
        text: ExampleText,
        readers: Sequence[Reader],
        folder: Path,
        count: Callable[[int], None],
    ) -> None:
        self._model = model
        self._text = text
        self._readers = readers
        self._count = count
        folder.mkdir(parents=True)
        n_examples = len(text.windows.tokens)
        self._activations = {
            site: self._array(folder / f"{site.name}.bin", n_examples, width)
            for site, width in {reader.site: reader.sae.cfg.d_in for reader in readers}.items()
        }
        self._values, self._written = {}, {}
        for index, reader in enumerate(readers):
            shape = (n_examples, reader.d_sae)
            self._values[reader.name] = self._array(folder / f"{index}.bin", *shape)
            scaled = reader.sae.cfg.normalize_activations in ("layer_norm", "constant_norm_rescale")
            own = self._array(folder / f"{index}-written.bin", *shape) if scaled else self._values[reader.name]
            self._written[reader.name] = own

    @staticmethod
    def _array(file: Path, *shape: int) -> Float[Tensor, "example channel"]:
        if not math.prod(shape):
            return torch.empty(*shape)
        return torch.from_file(str(file), shared=True, size=math.prod(shape)).view(*shape)

    def run(self) -> _Pooled:
        """Read every example and keep its means."""
        with_room(self._model, [reader.sae for reader in self._readers], self._read)
        latents = {name: Latents(values.numpy(), self._written[name].numpy()) for name, values in self._values.items()}
        return _Pooled({site: values.numpy() for site, values in self._activations.items()}, latents)

    def _read(self, max_positions: int) -> None:
        for batch in self._text.windows.batches(max_positions):
            self._keep(batch)
            self._count(len(batch.rows))

    def _keep(self, batch: Batch) -> None:
        device = self._model.device
        counted = self._text.pooled(batch).to(device)
        found = sites.read(self._model, batch.tokens.to(device), list(self._activations))
        example = torch.arange(len(batch.rows), device=device)[:, None].expand_as(counted)[counted]
        sizes = counted.sum(dim=1, keepdim=True).float()

        def mean(values: Float[Tensor, "token channel"]) -> Float[Tensor, "example channel"]:
            sums = values.new_zeros(len(batch.rows), values.shape[1]).index_add_(0, example, values)
            return (sums / sizes).cpu()

        for site, values in self._activations.items():
            values[batch.rows] = mean(found[site][counted].float())
        for reader in self._readers:
            features, scale = encode_scaled(reader.sae, found[reader.site][counted])
            self._values[reader.name][batch.rows] = reader.placed(mean(features))
            if scale is not None:
                self._written[reader.name][batch.rows] = reader.placed(mean(features * scale))
