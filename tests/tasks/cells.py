"""Cells made of arrays: a task can be tested on any activations, reconstructions and predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saetransfer.tasks.batch import CellBatch, Dictionaries, SiteBatch, StateBatch
from saetransfer.tasks.estimate import estimate
from saetransfer.tasks.metric import Estimate
from saetransfer.tasks.predictions import Predictions
from saetransfer.tasks.task import Sums, TextTask

VOCABULARY = 7
ALONE = Dictionaries(torch.zeros(1, 1), "no origin", "no counterpart")
"""For tasks that look at no other SAE."""
Sae = tuple[Float[Tensor, "token d_sae"], Float[Tensor, "token channel"]]
"""Latents and reconstruction, in the place of an SAE."""


@dataclass(frozen=True)
class _Unembedding:
    logits: Callable[[Tensor], Tensor]
    n_words: int = VOCABULARY
    by_block: bool = True

    def blocks(self, hidden: Tensor) -> Callable[[slice, Tensor], Tensor]:
        return lambda words, _: self.logits(hidden).T[words].clone()


class Scene:
    """Some tokens of some documents, with a model whose logits are an affine map of its activations at the site."""

    def __init__(self, n_tokens: int = 48, channels: int = 6, n_units: int = 4, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        # Activations with a mean far from zero, where wrong formulae show.
        self.x = torch.randn(n_tokens, channels, generator=generator) + 3.0
        self.unembedding = torch.randn(channels, VOCABULARY, generator=generator)
        self.dense_shift = 0.3 * torch.randn(n_tokens, channels, generator=generator)
        # Text that the model understands: drawn from its own predictions, so that ablating the site costs something.
        self.targets = self.log_probs(self.x).exp().multinomial(1, generator=generator).squeeze(1)
        self.scored = torch.arange(n_tokens) % 5 != 4
        self.unit = torch.arange(n_tokens) % n_units
        self.n_units = n_units
        self.dictionaries = ALONE
        self.origin: Float[Tensor, "token d_sae"] | None = None
        self.counterpart: Float[Tensor, "token d_other"] | None = None

    def log_probs(self, hidden: Float[Tensor, "token channel"]) -> Float[Tensor, "token vocabulary"]:
        """What the model predicts from activations at the site."""
        return torch.log_softmax(self.logits(hidden), dim=-1)

    def logits(self, hidden: Float[Tensor, "token channel"]) -> Float[Tensor, "token vocabulary"]:
        """Their logits."""
        return (hidden - 3.0) @ self.unembedding

    def batch(self, sae: Sae, rows: Int[Tensor, " row"] | None = None, dense: bool = False) -> CellBatch:
        """The tokens of those rows (all of them without) as a task sees them."""
        rows = torch.arange(len(self.x)) if rows is None else rows
        x, (features, reconstruction) = self.x[rows], sae
        predictions = Predictions(
            targets=self.targets[rows],
            scored=self.scored[rows],
            position=torch.zeros_like(rows),
            state_hidden=lambda: x,
            dense_hidden=None if dense else lambda: x + self.dense_shift[rows],
            unembedding=_Unembedding(self.logits),
        )
        state = StateBatch(unit=self.unit[rows], scored=self.scored[rows], predictions=predictions)
        mean = self.x.mean(dim=0)
        site = SiteBatch(
            state,
            activations=x,
            mean=mean,
            splice=lambda replacement: replacement,
            zero=lambda: predictions.ask(torch.zeros_like(x)),
            mean_ablation=lambda: predictions.ask_by_position(mean[None]),
            dense_activations=None if dense else lambda: x + self.dense_shift[rows],
        )
        origin, counterpart = self.origin, self.counterpart
        return CellBatch(
            site,
            self.dictionaries,
            encode=lambda _: features[rows],
            decode=lambda _: reconstruction[rows],
            origin=None if origin is None else lambda: origin[rows],
            counterpart=None if counterpart is None else lambda: counterpart[rows],
        )

    def sums(self, task: TextTask, sae: Sae, sizes: tuple[int, ...] = (), dense: bool = False) -> Sums:
        """What the task counts, the text cut into batches of those sizes (one batch without)."""
        meter = task.meter(self.n_units)
        for rows in torch.arange(len(self.x)).split(list(sizes) or len(self.x)):
            batch = self.batch(sae, rows, dense)
            meter.update(batch)
            batch.state.predictions.settle()
        return meter.sums()

    def figures(
        self, task: TextTask, sae: Sae, sizes: tuple[int, ...] = (), dense: bool = False
    ) -> dict[str, Estimate]:
        """The task's metrics, without its prefix."""
        found = estimate(task.metrics, self.sums(task, sae, sizes, dense))
        return {name.removeprefix(f"{task.name}."): value for name, value in found.items()}


def latents(n_tokens: int, d_sae: int = 10, seed: int = 5) -> Float[Tensor, "token d_sae"]:
    """Sparse non-negative latents."""
    return torch.randn(n_tokens, d_sae, generator=torch.Generator().manual_seed(seed)).relu()
