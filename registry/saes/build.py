"""The one door to SAEs: make what entries describe, and say what they are.

`make_many` makes several SAEs of one model at once: its text is run once for all of them. `make` makes one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PretrainedConfig

from ..errors import Impossible, RegistryError
from ..families import family_of
from ..sites import Site
from .checkpoint import Checkpoints
from .cost import Cost, encoding_flops, facts, training_flops
from .entry import SaeEntry
from .finetuned import Continued, FinetunedParams
from .folder import clone, load_folder, save
from .pretrained import load, value_offset
from .pruned import PrunedParams, Pruning
from .random import RandomParams, randomise
from .stream import Activations, Opener, read_once
from .structured import kept_latents
from .trained import TrainedParams
from .trainer import Cohort, Training
from .training import Fresh

if TYPE_CHECKING:
    from sae_lens import SAE

__all__ = [
    "Built",
    "Checkpoints",
    "Cost",
    "Order",
    "describe",
    "facts",
    "kept_latents",
    "load_folder",
    "make",
    "make_many",
    "save",
    "value_offset",
]


@dataclass(frozen=True)
class Order:
    """One SAE to be made."""

    entry: SaeEntry
    base_sae: SAE[Any] | None = None
    """The SAE of `entry.base`, where it has one; it stays as it is."""
    metadata: dict[str, Any] | None = None
    """What the cfg.json of an SAE that is trained from scratch shall say of its origin, see `describe`."""
    offset: Float[Tensor, " d_in"] | None = None
    """What `value_offset` says of the dense model, where the SAE is pretrained."""

    @property
    def base(self) -> SAE[Any]:
        """The SAE that it is made from.

        Raises:
            TypeError: the caller left it out.
        """
        if self.base_sae is None:
            raise TypeError(f"'{self.entry.name}' ({self.entry.source}) needs the SAE that it is made from")
        return self.base_sae


@dataclass(frozen=True)
class Built:
    """An SAE in float32, in evaluation mode, without gradients, and what it cost."""

    sae: SAE[Any]
    cost: Cost


def make(
    entry: SaeEntry,
    *,
    base_sae: SAE[Any] | None = None,
    activations: Callable[[], Activations] | None = None,
    device: str | torch.device = "cpu",
    progress: Callable[[float], None] | None = None,
    metadata: dict[str, Any] | None = None,
    offset: Float[Tensor, " d_in"] | None = None,
) -> Built:
    """One SAE, as `make_many` makes it beside others.

    Args:
        activations: gives the activations at `entry.site` from the start.
        offset: what `value_offset` says of the dense model, where the SAE is pretrained.

    Raises:
        RegistryError, Impossible, TypeError: as `make_many`, or what that gives in place of the SAE.
    """
    orders = [Order(entry, base_sae, metadata, offset)]

    opened = None if activations is None else lambda _start: ({entry.site: chunk} for chunk in activations())
    (built,) = make_many(orders, opened, device=device, progress=progress)
    if not isinstance(built, Built):
        raise built
    return built


def make_many(
    orders: Sequence[Order],
    activations: Opener | None = None,
    *,
    device: str | torch.device = "cpu",
    progress: Callable[[float], None] | None = None,
    checkpoints: Checkpoints | None = None,
    forward_flops: float = 0.0,
) -> list[Built | RegistryError | Impossible]:
    """Load, train, finetune, prune or draw SAEs; each is to the bit what it would be if it were made alone.

    Args:
        activations: opens the activations of the model that `entry.on` names, valid tokens of the text that
            `entry.reads` names, at one of its tokens: 0, or where a checkpoint was left. Chunks have the sites of all
            orders that need activations and may be endless. Called only where there is such an order.
        progress: told the fraction of all optimiser steps that are done.
        checkpoints: where trainings leave what they need to go on, and look for it; no other orders may be beside them.
        forward_flops: that the model needs for a token of activations, for `Cost`.

    Returns:
        For each order its SAE, or why that one could not be made: its weights are broken, or it cannot be downloaded.

    Raises:
        RegistryError: the activations end too early or do not fit, or a checkpoint is of other SAEs.
        TypeError: the caller left out what an entry needs, or orders want activations of different models or texts.
    """
    import sae_lens  # noqa: F401  seconds that are no part of making an SAE

    trainings = {index: _training(order, device) for index, order in enumerate(orders) if _is_trained(order)}
    cohorts = _cohorts(list(trainings.values()), progress)
    prunings = {index: Pruning(order.entry, order.base) for index, order in enumerate(orders) if _is_pruned(order)}
    watching = [pruning for pruning in prunings.values() if pruning.tokens > 0]
    if cohorts or watching:
        _read(orders, cohorts, watching, activations, checkpoints)
    owners = {id(training): cohort for cohort in cohorts for training in cohort.trainings}
    built: list[Built | RegistryError | Impossible] = []
    for index, order in enumerate(orders):
        try:
            if index in trainings:
                built.append(_trained(trainings[index], owners[id(trainings[index])], forward_flops))
            elif index in prunings:
                built.append(_pruned(order.entry, prunings[index], forward_flops))
            else:
                built.append(_loaded(order, device))
        except (RegistryError, Impossible) as error:
            built.append(error)
    return built


def _is_trained(order: Order) -> bool:
    return isinstance(order.entry.params, TrainedParams | FinetunedParams)


def _is_pruned(order: Order) -> bool:
    return isinstance(order.entry.params, PrunedParams)


def _training(order: Order, device: str | torch.device) -> Training:
    entry, params = order.entry, order.entry.params
    if isinstance(params, FinetunedParams):
        base = clone(order.base).to(device=torch.device(device))
        # A k meets its L0 by itself.
        matched = None if base.cfg.architecture() == "topk" else base
        return Training(entry, params, Continued(base, params), device, matched)
    if not isinstance(params, TrainedParams):
        raise TypeError(f"'{entry.name}' is {entry.source}: there is nothing to train")
    subject = Fresh(entry, params, order.metadata or {})
    return Training(entry, params, subject, device, order.base if params.match_l0 else None)


def _cohorts(trainings: Sequence[Training], progress: Callable[[float], None] | None) -> list[Cohort]:
    """Trainings by the batches that they see."""
    together: dict[tuple[object, ...], list[Training]] = {}
    for training in trainings:
        together.setdefault(Cohort.key(training), []).append(training)
    steps = sum(training.budget.steps for training in trainings)

    def tell() -> None:
        if progress is not None:
            progress(sum(training.steps_done for training in trainings) / steps)

    return [Cohort(members, tell) for members in together.values()]


def _read(
    orders: Sequence[Order],
    cohorts: list[Cohort],
    watching: list[Pruning],
    activations: Opener | None,
    checkpoints: Checkpoints | None,
) -> None:
    reading = [order.entry for order in orders if order.entry.on is not None]
    if activations is None:
        raise TypeError(f"'{reading[0].name}' ({reading[0].source}) needs activations of the {reading[0].on} model")
    if len({(entry.reads, entry.prepend_bos) for entry in reading}) > 1:
        raise TypeError(
            "SAEs that are made at once read one text: training apart from calibration, with BOS or without"
        )
    if checkpoints is None:
        read_once([*cohorts, *watching], activations)
        return
    if watching:
        raise TypeError("Only trainings leave checkpoints: prune apart from them")
    ordered = [order.entry.identity() for order in orders]
    read_once(
        cohorts,
        activations,
        checkpoints.resume(cohorts, ordered),
        lambda tokens: checkpoints.after_chunk(cohorts, ordered, tokens),
    )


def _trained(training: Training, cohort: Cohort, forward_flops: float) -> Built:
    began = time.perf_counter()
    sae = cohort.finish(training)
    _refuse_broken(training.entry, sae)
    own = training.seconds + time.perf_counter() - began
    flops = training_flops(training.entry, cohort.tokens) + forward_flops * cohort.tokens
    return Built(sae, Cost(own + cohort.waited, cohort.waited, cohort.tokens, training.budget.steps, flops))


def _pruned(entry: SaeEntry, pruning: Pruning, forward_flops: float) -> Built:
    began = time.perf_counter()
    sae = pruning.finish()
    _refuse_broken(entry, sae)
    own = pruning.seconds + time.perf_counter() - began
    flops = encoding_flops(entry, pruning.tokens) + forward_flops * pruning.tokens
    return Built(sae, Cost(own + pruning.waited, pruning.waited, pruning.tokens, 0, flops))


def _loaded(order: Order, device: str | torch.device) -> Built:
    began, params = time.perf_counter(), order.entry.params
    sae = (
        randomise(order.base, params.seed)
        if isinstance(params, RandomParams)
        else load(order.entry, device, order.offset)
    )
    _refuse_broken(order.entry, sae)
    return Built(sae, Cost(time.perf_counter() - began, 0.0, 0, 0, 0.0))


def _refuse_broken(entry: SaeEntry, sae: SAE[Any]) -> None:
    broken = [name for name, weight in sae.named_parameters() if not bool(weight.isfinite().all())]
    if broken:
        diverged = entry.source in ("trained", "finetuned")
        why = " Its training diverged: lower `lr`." if diverged else " The file is damaged."
        raise RegistryError(f"SAE '{entry.name}' has NaN or infinite weights in {', '.join(broken)}.{why}")


def describe(entry: SaeEntry, config: PretrainedConfig, model_name: str) -> dict[str, Any]:
    """SAELens' metadata of an SAE that is trained here: by them other tools find the model and the place in it."""
    return {
        "model_name": model_name,
        "hook_name": entry.site.name,
        "hf_hook_name": _module_path(entry.site, config),
        "prepend_bos": entry.prepend_bos,
        "context_size": entry.context_size,
    }


def _module_path(site: Site, config: PretrainedConfig) -> str | None:
    """The module whose output is this site; None where it is a module's input, for which SAELens has no name."""
    family = family_of(config)
    if site.kind == "resid_post":
        return f"{family.blocks}.{site.layer}"
    if site.kind == "resid_pre":
        return f"{family.blocks}.{site.layer - 1}" if site.layer > 0 else None
    return f"{family.blocks}.{site.layer}.{family.mlp_out}" if site.kind == "mlp_out" else None
