"""What a job needs beside its model: windows of text, calibration, labelled examples, SAEs, the dense reference."""

from __future__ import annotations

from functools import cached_property

from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...registry import windows
from ...registry.calibration import Calibration
from ...registry.models import load_tokenizer
from ...registry.saes import build
from ...registry.saes.lineage import ancestors
from ...registry.texts import nothing_to
from ...registry.windows import Windows
from ...tasks.absorption import WORDS
from ..measuring.dense_reference import DenseReference
from ..measuring.example_texts import labelled_examples, word_examples
from ..measuring.pooling import ExampleTexts
from ..planning.grid import Plan, StatePlan, calibration_bos
from .artifacts import Artifacts
from .sae_supply import SaeSupply

_INSPECTED = 8


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
        sequences = self._sequences
        if not sequences:
            raise nothing_to(self._plan.calibration, "calibration")
        return Calibration(
            sequences, propagation=self._plan.suite.data.calibration.propagation, tokenizer=self.tokenizer
        )

    def inspection(self) -> list[Int[Tensor, " _position"]]:
        """Some of the sequences that compressors see, on which verification compares the outputs of layers.

        Where the text has none set aside (no compressor of the suite reads it), the probing window.
        """
        return self._sequences[:_INSPECTED] or [self.probe()[0]]

    @cached_property
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

    def saes(self, prepend_bos: bool) -> SaeSupply:
        """The SAEs of the state."""
        return SaeSupply(
            self._plan,
            self._state,
            self._artifacts,
            self.tokenizer,
            prepend_bos,
            self._offsets,
        )
