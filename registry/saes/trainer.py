"""SAEs in training, by SAELens' own trainer: several at once on the same stream, and on again after an interruption.

An SAE's result depends on its entry and the activations alone: neither on the others that are trained beside it, nor
on how the activations are cut into chunks, nor on the global random state, which stays as it is.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from .budget import Budget
from .entry import SaeEntry
from .matching import Controller, l0
from .stream import Mixer
from .training import Start

if TYPE_CHECKING:
    from sae_lens import SAE, TrainingSAE

_DECAY, _DEAD_AFTER = 0.3, 0.05
_HEAD_TOKENS = 8192
_NUMBERS, _TENSORS = "numbers.json", "activations.safetensors"
_BUFFER_TOKENS, _BUFFER_BYTES = 1 << 16, 1 << 28


@runtime_checkable
class Subject(Protocol):
    """What is trained: how it starts, what it is shown, and what becomes of it."""

    def start(self, head: Float[Tensor, "token d_in"], target: float | None) -> Start:
        """The SAE before the first step, fitted to the first activations, and to the L0 it is to meet."""
        ...

    def shown(self, batch: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_in"]:
        """Activations as the SAE is to reconstruct them."""
        ...

    def finish(self, sae: TrainingSAE[Any], scale: float, device: str | torch.device) -> SAE[Any]:
        """The plain SAE."""
        ...


class Training:
    """One SAE in training."""

    def __init__(
        self,
        entry: SaeEntry,
        budget: Budget,
        subject: Subject,
        device: str | torch.device,
        matched: SAE[Any] | None = None,
    ) -> None:
        """Nothing is done before `start`.

        Args:
            matched: the SAE whose L0 on the first activations is to be met.
        """
        self.entry, self.budget = entry, budget
        self.seconds = 0.0
        self.steps_done = 0
        self._subject, self.device, self._matched = subject, device, matched
        self._target: float | None = None
        self._controller: Controller | None = None
        self._trainer: Any = None

    def start(self, head: Float[Tensor, "token d_in"]) -> None:
        """Get ready for the first step; the same first activations make the same start."""
        began = time.perf_counter()
        self._target = None if self._matched is None else l0(self._matched, head)
        shown = self._subject.shown(head.to(torch.device(self.device)))
        start, steps = self._subject.start(shown, self._target), self.budget.steps
        self._trainer = self._sae_lens_trainer(start)
        if self._target is not None and self._trainer.coefficient_schedulers:
            self._controller = Controller(self._target, steps, int(start.settling * steps))
        self.seconds += time.perf_counter() - began

    def step(self, batch: Float[Tensor, "batch d_in"]) -> None:
        """One step of the optimiser."""
        began, trainer = time.perf_counter(), self._trainer
        trainer.maybe_reset_sparsity()
        with torch.enable_grad():
            output = trainer.step(self._subject.shown(batch))
        trainer.n_training_steps += 1
        if self._controller is not None:
            (scheduler,) = trainer.coefficient_schedulers.values()
            self._controller.steer(trainer.sae, scheduler, output.feature_acts)
        self.steps_done += 1
        self.seconds += time.perf_counter() - began

    def finish(self, head: Float[Tensor, "token d_in"]) -> SAE[Any]:
        """The plain SAE; its cfg.json says which L0 was to be met, which was, and by what."""
        trainer = self._trainer
        trainer.set_final_sae_metadata()
        sae = self._subject.finish(trainer.sae, trainer.activation_scaler.scaling_factor, self.device)
        if self._target is not None:
            steered = {name: scheduler.final_value for name, scheduler in trainer.coefficient_schedulers.items()}
            means = {f"{name}_coefficient": value for name, value in steered.items()} or {"k": trainer.sae.cfg.k}
            sae.cfg.metadata.matched_l0 = {"target": self._target, "reached": l0(sae, head), **means}
        return sae

    def save(self, folder: Path) -> None:
        """Write everything that the next steps depend on, beside the first activations."""
        trainer = self._trainer
        trainer.save_trainer_state(folder)
        trainer.sae.save_model(folder)
        more = {
            "coefficients": {
                name: (scheduler.final_value, scheduler.current_value)
                for name, scheduler in trainer.coefficient_schedulers.items()
            },
            "controller": None if self._controller is None else self._controller.state_dict(),
            "steps_done": self.steps_done,
            "seconds": self.seconds,
        }
        (folder / _NUMBERS).write_text(json.dumps(more), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Go on from there, after `start`."""
        trainer = self._trainer
        trainer.load_trainer_state(folder)
        trainer.sae.load_weights_from_checkpoint(folder)
        more = json.loads((folder / _NUMBERS).read_text(encoding="utf-8"))
        for name, scheduler in trainer.coefficient_schedulers.items():
            scheduler.final_value, scheduler.current_value = more["coefficients"][name]
        if self._controller is not None:
            self._controller.load_state_dict(more["controller"])
        self.steps_done, self.seconds = more["steps_done"], more["seconds"]

    def _sae_lens_trainer(self, start: Start) -> Any:
        from sae_lens.config import SAETrainerConfig
        from sae_lens.training.sae_trainer import SAETrainer

        from .topk import by_groups

        by_groups(start.sae)
        budget, steps = self.budget, self.budget.steps
        config = SAETrainerConfig(
            total_training_samples=steps * budget.batch_size,
            train_batch_size_samples=budget.batch_size,
            lr=budget.lr,
            lr_end=budget.lr,
            lr_warm_up_steps=int(start.warm_up * steps),
            lr_decay_steps=int(_DECAY * steps),
            dead_feature_window=max(10, int(_DEAD_AFTER * steps)),
            feature_sampling_window=math.ceil(steps / 10),
            device=str(self.device),
        )
        trainer = SAETrainer(config, start.sae.to(device=torch.device(self.device)), data_provider=iter(()))
        trainer.activation_scaler.scaling_factor = start.scale
        return trainer


class Cohort:
    """Trainings that are shown the same batches, as whose reader it mixes the activations."""

    def __init__(self, trainings: Sequence[Training], on_step: Callable[[], None]) -> None:
        """Of trainings with the same `key`."""
        entry, budget = trainings[0].entry, trainings[0].budget
        self.site, self.d_in = entry.site, entry.d_in
        self.tokens = budget.steps * budget.batch_size
        self.trainings = trainings
        self._device = trainings[0].device
        self.waited = 0.0
        self._on_step = on_step
        self._started = False
        buffer = min(_BUFFER_TOKENS, _BUFFER_BYTES // (4 * entry.d_in))
        self._mixer = Mixer(self.tokens, budget.batch_size, buffer, budget.seed, _HEAD_TOKENS)

    @staticmethod
    def key(training: Training) -> tuple[object, ...]:
        """What trainings must have in common to see the same batches."""
        budget = training.budget
        return training.entry.site, training.entry.d_in, budget.steps, budget.batch_size, budget.seed

    def read(self, chunk: Float[Tensor, "token d_in"]) -> None:
        """Mix activations in, and train on what the mixer gives."""
        began, trained = time.perf_counter(), self._seconds_trained()
        for batch in self._mixer.feed(chunk):
            self._start()
            for training in self.trainings:
                training.step(batch)
                self._on_step()
        # Each of the trainings would have to mix if it were alone.
        self.waited += time.perf_counter() - began - (self._seconds_trained() - trained)

    def finish(self, training: Training) -> SAE[Any]:
        """The plain SAE of one of the trainings."""
        return training.finish(self._head())

    def save(self, folder: Path) -> None:
        """Write everything that goes on from here."""
        folder.mkdir()
        tensors, seen = self._mixer.state()
        save_file(tensors, folder / _TENSORS)
        (folder / _NUMBERS).write_text(json.dumps({"seen": seen, "waited": self.waited}), encoding="utf-8")
        for index, training in enumerate(self.trainings if self._started else ()):
            training.save(folder / str(index))

    def load(self, folder: Path) -> None:
        """Go on from there."""
        numbers = json.loads((folder / _NUMBERS).read_text(encoding="utf-8"))
        self._mixer.load_state(load_file(folder / _TENSORS, device=str(self._device)), numbers["seen"])
        self.waited = numbers["waited"]
        if self._mixer.head is not None:
            self._start()
            for index, training in enumerate(self.trainings):
                training.load(folder / str(index))

    def _seconds_trained(self) -> float:
        return sum(training.seconds for training in self.trainings)

    def _start(self) -> None:
        if not self._started:
            for training in self.trainings:
                training.start(self._head())
            self._started = True

    def _head(self) -> Float[Tensor, "token d_in"]:
        if self._mixer.head is None:
            raise ValueError("No batch has been served yet")
        return self._mixer.head
