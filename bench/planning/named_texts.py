"""The texts that a suite names: found, checked against each other, and looked into."""

from __future__ import annotations

from dataclasses import dataclass

from ...registry import labelled, texts
from ...registry.errors import RegistryError
from ...registry.labelled import Labelled
from ...registry.saes import lineage
from ...registry.texts import Role, Text
from ...tasks.absorption import WORDS
from ...tasks.shelf import KINDS
from .grid import MICROWORLD, Plan
from .lookup import Lookup
from .suite import Place

_SHOWN = 60
"""Characters of a document that a message shows."""


@dataclass(frozen=True)
class NamedTexts:
    """Of one suite."""

    _names: Lookup

    def roles(self) -> tuple[Text, Text, Text]:
        """The texts for evaluation, calibration and training."""
        data = self._names.suite.data
        alone = data.calibration.text is not None and data.training.text is not None
        evaluation = self._names.located(("data", "text"), texts.resolve, data.text, divided=not alone)
        calibration, training = (self._other_text(section, evaluation) for section in ("calibration", "training"))
        return evaluation, calibration, training

    def check(self, plan: Plan) -> None:
        """Look into the texts that the plan will need, so that an empty or broken file shows now."""
        saes = {cell.sae.name: cell.sae for state in plan.states if state.is_dense for cell in state.cells}
        read = {ancestor.reads for sae in saes.values() for ancestor in lineage.ancestors(sae)}
        calibrated = any(state.compressor.needs_calibration for state in plan.states) or "calibration" in read
        needed: list[tuple[Place, Text, Role]] = [(("data", "text"), plan.evaluation, "evaluation")]
        if calibrated:
            needed.append((("data", "calibration", "text"), plan.calibration, "calibration"))
        if "training" in read:
            needed.append((("data", "training", "text"), plan.training, "training"))
        for place, text, role in needed:
            try:
                texts.check(text, role)
                shared = (
                    texts.shared_document(plan.evaluation, "evaluation", text, role) if role != "evaluation" else None
                )
            except RegistryError as error:
                raise self._names.mistake(place, str(error)) from error
            if shared is not None:
                shown = shared if len(shared) <= _SHOWN else f"{shared[:_SHOWN]}..."
                message = f"it shares documents with the evaluation text, such as {shown!r}. Figures would be measured "
                raise self._names.mistake(place, f"{message}on what was seen before: take those out of one of the two.")

    def _other_text(self, section: str, evaluation: Text) -> Text:
        """The text for calibration or training: one of its own, or the evaluation text's part for that."""
        own = getattr(self._names.suite.data, section).text
        if own is None:
            return evaluation
        place = ("data", section, "text")
        text = self._names.located(place, texts.resolve, own, divided=False)
        if text.content == evaluation.content and not (text.divided and evaluation.divided):
            what = "calibrated" if section == "calibration" else "trained"
            raise self._names.mistake(
                place,
                f"this is the evaluation text itself: the state would be measured on what it was {what} on. Leave it "
                "out to set a part of the text aside, or give another text.",
            )
        return text

    def labelled(self) -> tuple[Labelled, ...]:
        """The labelled texts that some task looks at; each is looked into, so that mistakes show now."""
        names = [
            definition if isinstance(definition, str) else definition.get("name")
            for definition in self._names.suite.tasks
        ]
        needing = [name for name in names if isinstance(name, str) and name in KINDS and KINDS[name].needs_labels]
        if not needing:
            return ()
        data = self._names.suite.data
        given = data.probing if data.probing is not None else [data.text] if data.text == MICROWORLD else []
        if not given:
            example = "[{path: train.jsonl, label: label}]"
            message = f"task '{needing[0]}' needs labelled texts: name some, for example {example}."
            raise self._names.mistake(("data", "probing"), message)
        found: list[Labelled] = []
        for index, definition in enumerate(given):
            place: Place = ("data", "probing", index) if data.probing is not None else ("data", "text")
            text = self._names.located(place, labelled.resolve, definition)
            if text.name == WORDS:
                raise self._names.mistake(place, f"'{WORDS}' are those that absorption asks for; give another name.")
            self._names.check_name(place, text.name, [other.name for other in found])
            try:
                labelled.check(text)
            except RegistryError as error:
                raise self._names.mistake(place, str(error)) from error
            found.append(text)
        return tuple(found)
