"""What a job needs beside its model: windows of text, trained and pruned SAEs, the reading of the dense state.

SAEs that are made, and dense readings, live in the artifact cache; whoever needs one first makes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..registry import sites, texts, windows
from ..registry.calibration import Calibration
from ..registry.models import load_tokenizer
from ..registry.saes import build
from ..registry.saes.build import Built, Cost
from ..registry.saes.entry import SaeEntry
from ..registry.saes.lineage import ancestors
from ..registry.texts import Role, nothing_to
from ..registry.windows import Windows
from ..tasks.absorption import WORDS
from .artifacts import Artifacts
from .dense_reference import DenseReference
from .example_texts import labelled_examples, word_examples
from .plan import Plan, StatePlan, calibration_bos
from .pooling import ExampleTexts
from .reading import max_positions

_COST = "cost.json"
_INSPECTED = 8
_MOST_IN_VAIN = 100
"""Batches without a single valid token after which a text is taken to hold nothing but special tokens."""


class Supply:
    """Supplies one state of a plan."""

    def __init__(self, plan: Plan, state: StatePlan, artifacts: Artifacts, device: str) -> None:
        self._plan = plan
        self._device = device
        self._state = state
        self._artifacts = artifacts
        self._offsets: dict[str, Float[Tensor, " channel"] | None] = {}
        """Of each pretrained SAE, what it has to know of the dense model's weights."""

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        return load_tokenizer(self._state.model)

    def note_dense(self, model: PreTrainedModel) -> None:
        """Keep what pretrained SAEs need of the dense model's weights, before these are compressed."""
        for entry in {
            ancestor.name: ancestor for cell in self._state.cells for ancestor in ancestors(cell.sae)
        }.values():
            self._offsets[entry.name] = build.value_offset(entry, model)

    def evaluation(self, prepend_bos: bool) -> Windows:
        """The windows that figures are measured on."""
        data, text = self._plan.suite.data, self._plan.evaluation
        return windows.collect(
            text.documents("evaluation"),
            self.tokenizer,
            tokens=data.tokens,
            context=data.context,
            prepend_bos=prepend_bos,
            windows_are_units=text.is_one_document,
        )

    def probe(self) -> Int[Tensor, "1 position"]:
        """One window, on which the logits of the state are compared with the dense ones."""
        data, text = self._plan.suite.data, self._plan.evaluation
        bos = calibration_bos(data)
        cut = windows.cut(text.documents("evaluation"), self.tokenizer, data.context, bos)
        found = next((window for _, window in cut), None)
        if found is None:
            raise nothing_to(text, "evaluation")
        return found[None]

    def calibration(self) -> Calibration:
        """The sequences that compressors see.

        Raises:
            RegistryError: the text has nothing for that role.
        """
        sequences = self._sequences()
        if not sequences:
            raise nothing_to(self._plan.calibration, "calibration")
        return Calibration(
            sequences, propagation=self._plan.suite.data.calibration.propagation, tokenizer=self.tokenizer
        )

    def inspection(self) -> list[Int[Tensor, " _position"]]:
        """Some of the sequences that compressors see, on which verification compares the outputs of layers.

        Where the text has none set aside (no compressor of the suite reads it), the probing window.
        """
        return self._sequences()[:_INSPECTED] or [self.probe()[0]]

    def _sequences(self) -> list[Int[Tensor, " _position"]]:
        settings = self._plan.suite.data.calibration
        return windows.sample(
            self._plan.calibration.documents("calibration"),
            self.tokenizer,
            sequences=settings.sequences,
            context=settings.context or self._plan.suite.data.context,
            prepend_bos=calibration_bos(self._plan.suite.data),
            seed=settings.seed,
        )

    def dense_reference(self, prepend_bos: bool) -> DenseReference:
        """What the dense state leaves for the others."""
        return DenseReference(self._plan, self._state, self._artifacts, self._device, prepend_bos)

    def examples(self, prepend_bos: bool) -> list[ExampleTexts]:
        """The labelled texts, and the words, that tasks look at, as token ids."""
        context = self._plan.suite.data.context
        found = [labelled_examples(text, self.tokenizer, context, prepend_bos) for text in self._plan.labelled]
        if any(WORDS in task.sets for task in self._plan.labelled_tasks):
            found.append(word_examples(self.tokenizer, prepend_bos, self._plan.is_of_microworld))
        return found

    def sae_key(self, entry: SaeEntry, prepend_bos: bool) -> dict[str, Any]:
        """Key of an SAE that is made: its own identity, the model, and the state where it depends on that."""
        state = self._state
        compressor: dict[str, Any] = {"steps": [], "calibration": None}
        if entry.depends_on_state and not state.is_dense:
            seen = self._plan.calibration_identity(calibration_bos(self._plan.suite.data))
            compressor = {
                "steps": state.compressor.identity,
                "calibration": seen if state.compressor.needs_calibration else None,
            }
        return {
            "kind": "sae",
            "model": state.model.identity,
            "compressor": compressor,
            "sae": self._plan.sae_identity(entry, prepend_bos),
        }

    def is_made(self, entry: SaeEntry, prepend_bos: bool) -> bool:
        """Whether an SAE needs no more work than loading, itself and what it is made from."""
        here = entry.on is None or self._artifacts.find(self.sae_key(entry, prepend_bos)) is not None
        return here and (entry.base is None or self.is_made(entry.base, prepend_bos))

    def sae(
        self, entry: SaeEntry, prepend_bos: bool, model: PreTrainedModel, progress: Callable[[float], None]
    ) -> Built:
        """An SAE: loaded, or made from the activations of `model`, which is this state, and kept.

        Raises:
            LookupError: an SAE made on the dense state is wanted on another state, and has not been made.
        """
        if entry.on is None:
            return self._make(entry, prepend_bos, model, progress)
        key = self.sae_key(entry, prepend_bos)
        if self._artifacts.find(key) is None:
            if entry.on == "dense" and not self._state.is_dense:
                raise LookupError(f"SAE '{entry.name}' is made on the dense state: see why its cell there failed.")
            made = self._make(entry, prepend_bos, model, progress)
            with self._artifacts.create(key) as folder:
                build.save(made.sae, folder)
                (folder / _COST).write_text(json.dumps(asdict(made.cost)), encoding="utf-8")
        kept = self._artifacts.folder(key)
        cost = Cost(**json.loads((kept / _COST).read_text(encoding="utf-8")))
        return Built(build.load_folder(kept, str(model.device)), cost)

    def _make(
        self, entry: SaeEntry, prepend_bos: bool, model: PreTrainedModel, progress: Callable[[float], None]
    ) -> Built:
        base = None if entry.base is None else self.sae(entry.base, prepend_bos, model, progress).sae
        return build.make(
            entry,
            base_sae=base,
            activations=lambda: self._activations(entry, prepend_bos, model),
            device=str(model.device),
            progress=progress,
            metadata=build.describe(entry, model.config, self._state.model.name),
            offset=self._offsets.get(entry.name),
        )

    def _activations(
        self, entry: SaeEntry, prepend_bos: bool, model: PreTrainedModel
    ) -> Iterator[Float[Tensor, "token channel"]]:
        """Valid activations at the site, without end: of the training text, or of the one to calibrate on."""
        role: Role = "training" if entry.source == "trained" else "calibration"
        text = self._plan.training if role == "training" else self._plan.calibration
        context = self._plan.suite.data.context
        first = windows.cut(text.documents(role), self.tokenizer, context, prepend_bos)
        if next(first, None) is None:
            raise nothing_to(text, role)
        in_vain, site = 0, sites.locate(model, entry.site)
        endless = texts.endless(text, role)
        for part in windows.stream(endless, self.tokenizer, context=context, prepend_bos=prepend_bos):
            for batch in part.batches(max_positions(model)):
                with torch.inference_mode():
                    found = sites.read(model, batch.tokens.to(model.device), [site])[site]
                # A clone made outside inference mode, since training differentiates through what is read here.
                yield found[batch.valid.to(found.device)].clone()
                in_vain = 0 if batch.valid.any() else in_vain + 1
                if in_vain == _MOST_IN_VAIN:
                    raise nothing_to(text, role)
