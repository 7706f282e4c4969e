"""Labelled examples made of arrays: what is known of them is planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from saetransfer.tasks.estimate import estimate
from saetransfer.tasks.examples import Examples, ExampleSet, Latents, SiteExamples, SiteSplit
from saetransfer.tasks.metric import Estimate
from saetransfer.tasks.task import Fitted, LabelledTask, Sums

NAME = "toy"
Labels = Mapping[str, Sequence[str | None]]


class World:
    """Latents that follow from labels, and the activations that a decoder makes of them.

    Latent i fires more where the i-th value, over all attributes, is present; all others are noise. `seed` draws the
    examples, not the decoder.
    """

    def __init__(
        self,
        attributes: Mapping[str, tuple[str, ...]],
        *,
        spurious: tuple[tuple[str, str], ...] = (),
        n: int = 200,
        d_sae: int = 30,
        d_in: int = 24,
        signal: float = 3.0,
        seed: int = 0,
    ) -> None:
        generator = np.random.default_rng(seed)
        self.set = ExampleSet(NAME, tuple(attributes), spurious)
        self.labels: dict[str, list[str | None]] = {
            name: [str(value) for value in generator.choice(values, 2 * n)] for name, values in attributes.items()
        }
        self.latents = np.abs(generator.normal(size=(2 * n, d_sae))).astype(np.float32)
        every = [(name, value) for name, values in attributes.items() for value in values]
        for i, (name, value) in enumerate(every):
            self.latents[:, i] += signal * (np.array(self.labels[name]) == value)
        self.decoder = np.random.default_rng(99).normal(size=(d_sae, d_in)).astype(np.float32)
        self.activations = (self.latents @ self.decoder + generator.normal(size=(2 * n, d_in))).astype(np.float32)
        self.n = n

    def site(self) -> SiteExamples:
        """Half of the examples for training, half for testing."""
        halves = [
            SiteSplit({k: v[part] for k, v in self.labels.items()}, self.activations[part])
            for part in (slice(0, self.n), slice(self.n, None))
        ]
        return SiteExamples(self.set, *halves)

    def examples(self, site: SiteExamples | None = None) -> Mapping[str, Examples]:
        """As a task sees them."""
        train, test = self.latents[: self.n], self.latents[self.n :]
        return {NAME: Examples(site or self.site(), Latents(train, train), Latents(test, test), self.decoder)}


def counted(task: LabelledTask, world: World, dense: Fitted | str = "no dense state") -> Sums:
    """What a task counts."""
    examples = world.examples()
    return task.count(examples, task.fit(examples), dense)


def figures(task: LabelledTask, sums: Sums) -> dict[str, Estimate]:
    """The task's metrics, without its prefix."""
    return {name.removeprefix(f"{task.name}."): value for name, value in estimate(task.metrics, sums).items()}


def value(found: Mapping[str, Estimate], name: str) -> float:
    """A value that must be there."""
    got = found[name].value
    assert got is not None, f"{name}: {found[name].reason}"
    return got
