"""What a state and an SAE cost: the timing and the exercise of memory, in passes of their own.

Costs change no figure of quality, and depend on the machine: they are no part of a cell's id. What was timed stands
beside them as the `workload`, without which two costs are not comparable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sae_lens import SAE
from transformers import PreTrainedModel

from ..metric import Quantity
from . import metrics, workloads
from .energy import joules_per_call
from .figure import CostFigure, CostFigures, milliseconds, once, per_second, speedup, tail, without
from .timing import Patience, Timing, in_turns

_DECODE = "decode"
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def _with_one(sizes: tuple[int, ...]) -> tuple[int, ...]:
    if 1 not in sizes:
        raise ValueError("must name 1, which latency is measured at")
    if len(set(sizes)) < len(sizes):
        raise ValueError("must name each size once")
    return tuple(sorted(sizes))


class CostSettings(BaseModel):
    """What a suite can choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], AfterValidator(_with_one)] = (1, 8, 32)
    """Prompts read at a time; 1 must be among them."""
    prompt_tokens: Annotated[int, Field(ge=1)] = 128
    new_tokens: Annotated[int, Field(ge=1)] = 32
    """Tokens generated after a prompt."""
    sae_tokens: Annotated[int, Field(ge=1)] = 1024
    """Activations encoded and decoded at a time."""
    repeats: Annotated[int, Field(ge=1)] = 10
    """Of each timing. As `seconds`, it sharpens figures and changes none."""
    seconds: Annotated[float, Field(gt=0)] = 2.0
    """Of each timing, in all its repeats."""


class Cost:
    """The task `cost`."""

    name: str = "cost"
    version: int = 1

    def __init__(self, settings: CostSettings | None = None) -> None:
        self._settings = settings or CostSettings()

    @cached_property
    def metrics(self) -> tuple[Quantity, ...]:
        """All costs."""
        return metrics.metrics_of(self._settings.batch_sizes)

    @property
    def workload(self) -> dict[str, Any]:
        """What is timed, as JSON values: costs of another workload are other costs."""
        chosen = self._settings.model_dump(mode="json", exclude={"repeats", "seconds"})
        return {"version": self.version, **chosen}

    def time_state(self, model: PreTrainedModel) -> tuple[CostFigures, dict[str, Any]]:
        """Speed and energy of a state; and what else is known of its calls, as JSON values."""
        if reason := self._too_long(model):
            return self.untimed(reason), {}
        settings = self._settings
        works = {_prefill(size): self._prefill(model, size) for size in settings.batch_sizes}
        works[_DECODE] = workloads.decode(model, settings.prompt_tokens, settings.new_tokens)
        found = in_turns(works, self._patience, model.device)
        figures = {metrics.JOULES.name: self._energy(model)}
        for size in settings.batch_sizes:
            tokens = size * settings.prompt_tokens
            figures[metrics.prefill_speed(size).name] = _per_second(found[_prefill(size)], tokens)
        figures[metrics.DECODE.name] = _per_second(found[_DECODE], settings.new_tokens)
        single = found[_prefill(1)]
        figures[metrics.LATENCY_P50.name] = without(single) if isinstance(single, str) else milliseconds(single)
        figures[metrics.LATENCY_P95.name] = without(single) if isinstance(single, str) else tail(single, 0.95)
        calls = {name: _calls(timing) for name, timing in found.items() if isinstance(timing, Timing)}
        return figures, {"calls": calls}

    def untimed(self, reason: str) -> CostFigures:
        """The same where nothing is timed, and why."""
        return {metric.name: without(reason) for metric in metrics.timed(self._settings.batch_sizes)}

    def speedups(self, own: CostFigures, dense: Mapping[str, Sequence[float]] | str) -> CostFigures:
        """Speeds over those of the dense state.

        Args:
            own: of this state.
            dense: the repeats of the dense state, by metric; or why this state cannot be compared with it.
        """
        found: dict[str, CostFigure] = {}
        for ratio, speed in metrics.speedups(self._settings.batch_sizes).items():
            if isinstance(dense, str):
                found[ratio.name] = without(dense)
            elif not dense.get(speed.name):
                found[ratio.name] = without("the dense state has no such speed")
            else:
                found[ratio.name] = speedup(own[speed.name], dense[speed.name])
        return found

    @torch.inference_mode()
    def exercise(self, model: PreTrainedModel) -> None:
        """What memory is measured on: prompts at the largest batch size, and some tokens generated."""
        settings = self._settings
        decode = workloads.decode(model, settings.prompt_tokens, settings.new_tokens)
        for work in (self._prefill(model, settings.batch_sizes[-1]), decode):
            work.run(work.prepare())

    def time_saes(self, saes: Mapping[str, SAE[Any]]) -> dict[str, CostFigure]:
        """Speed of SAEs, by their names."""
        return time_saes(saes, self._settings.sae_tokens, self._patience)

    @property
    def _patience(self) -> Patience:
        return Patience(self._settings.repeats, self._settings.seconds)

    def _prefill(self, model: PreTrainedModel, size: int) -> workloads.Work:
        return workloads.prefill(model, size, self._settings.prompt_tokens)

    def _energy(self, model: PreTrainedModel) -> CostFigure:
        size = self._settings.batch_sizes[-1]
        found = joules_per_call(self._prefill(model, size), self._settings.seconds, model.device)
        return without(found) if isinstance(found, str) else once(found / (size * self._settings.prompt_tokens))

    def _too_long(self, model: PreTrainedModel) -> str | None:
        settings, longest = self._settings, getattr(model.config, "max_position_embeddings", None)
        needed = settings.prompt_tokens + settings.new_tokens
        if longest is None or needed <= longest:
            return None
        return (
            f"{settings.prompt_tokens} prompt tokens and {settings.new_tokens} new ones do not fit the model's "
            f"{longest} positions: set prompt_tokens and new_tokens of task 'cost'"
        )


def time_saes(saes: Mapping[str, SAE[Any]], tokens: int, patience: Patience) -> dict[str, CostFigure]:
    """Tokens that SAEs encode and decode in a second, where they are; they take turns.

    Args:
        saes: by their names.
        tokens: in a batch.
        patience: how long to measure.
    """
    if not saes:
        return {}
    works = {name: workloads.encode_decode(sae, tokens) for name, sae in saes.items()}
    device = next(iter(saes.values())).W_enc.device
    return {name: _per_second(found, tokens) for name, found in in_turns(works, patience, device).items()}


def _prefill(size: int) -> str:
    return f"prefill_b{size}"


def _per_second(found: Timing | str, tokens: int) -> CostFigure:
    return without(found) if isinstance(found, str) else per_second(found, tokens)


def _calls(timing: Timing) -> dict[str, Any]:
    """How the calls spread: seconds by percentile, of which 25 and 75 bound the interquartile range."""
    quantiles = {f"p{100 * share:.0f}_seconds": float(f"{timing.quantile(share):.4g}") for share in _QUANTILES}
    return {"n": len(timing.calls), **quantiles}
