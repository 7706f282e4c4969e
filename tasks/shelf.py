"""All tasks, by the name that suites give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from .absorption import Absorption, AbsorptionSettings
from .cost.task import Cost, CostSettings
from .downstream import Downstream, DownstreamSettings
from .examples import ExampleSet
from .metric import Quantity
from .overlap.settings import OverlapSettings
from .overlap.task import Overlap
from .perplexity import Perplexity
from .perturbation.task import Perturbation, PerturbationSettings
from .probing.task import Probing, ProbingSettings
from .reconstruction import Reconstruction
from .task import Task


class NoSettings(BaseModel):
    """Settings of a task that has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Kind:
    """A task before it is set up."""

    summary: str
    settings: type[BaseModel]
    """What a suite can choose, beside the task's name."""
    make: Callable[[Any, Sequence[ExampleSet]], Task | Cost]
    """From checked settings, and the sets of labelled examples that the suite names, to the task."""
    needs_labels: bool = False
    """Whether it needs labelled texts."""
    names_tasks: bool = False
    """Whether its setting `tasks` names tasks of lm-eval: by name, file or folder."""
    compares: bool = False
    """Whether it compares an SAE's latents with those of the frozen SAEs that it comes from or stands beside."""


KINDS: dict[str, Kind] = {
    "reconstruction": Kind(
        "how well the SAE rebuilds the activations", NoSettings, lambda _settings, _sets: Reconstruction()
    ),
    "perplexity": Kind(
        "what the model loses with the reconstruction in it", NoSettings, lambda _settings, _sets: Perplexity()
    ),
    "overlap": Kind(
        "whether latents are the same as on the dense state, and as those of the frozen SAE",
        OverlapSettings,
        lambda settings, _sets: Overlap(settings),
        compares=True,
    ),
    "probing": Kind(
        "what linear probes read off the latents, and still read after compression",
        ProbingSettings,
        Probing,
        needs_labels=True,
    ),
    "perturbation": Kind(
        "what ablating latents does to linear probes (TPP, SCR)", PerturbationSettings, Perturbation, needs_labels=True
    ),
    "absorption": Kind(
        "words whose first letter other latents write than the letter's own",
        AbsorptionSettings,
        lambda settings, _sets: Absorption(settings),
    ),
    "downstream": Kind(
        "what the state answers in tasks of lm-eval, without and with the SAE in it",
        DownstreamSettings,
        lambda settings, _sets: Downstream(settings),
        names_tasks=True,
    ),
    "cost": Kind(
        "time, memory, bytes and energy of the state and the SAE, comparable within one machine",
        CostSettings,
        lambda settings, _sets: Cost(settings),
    ),
}


def make(name: str, settings: Mapping[str, Any] | None = None, sets: Sequence[ExampleSet] = ()) -> Task | Cost:
    """A task with the settings that a suite gives.

    Raises:
        KeyError: no such task.
        pydantic.ValidationError: settings that it does not know, or of a wrong type.
    """
    kind = KINDS[name]
    return kind.make(kind.settings(**(settings or {})), sets)


def metrics() -> dict[str, Quantity]:
    """All metrics of tasks with their default settings, by name, in the order in which tasks declare them."""
    return {metric.name: metric for name in KINDS for metric in make(name).metrics}
