"""From a suite to its grid: every name looked up, every cell with its id, before anything is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...registry import models
from ...registry.compressors import shelf
from ...registry.compressors.method import Compressor
from ...registry.errors import RegistryError, unknown
from ...registry.models import Model
from ...registry.saes.entry import SaeEntry
from ...registry.saes.resolve import resolve as resolve_sae
from ...tasks.cost.task import Cost
from ...tasks.examples import ExampleSet
from .cells import states_of
from .grid import DENSE, Plan
from .layers import expanded
from .lookup import Lookup
from .named_tasks import NamedTasks
from .named_texts import NamedTexts
from .suite import Definition, Place, SuiteFile


def make(source: SuiteFile, only: tuple[str, str] | None = None) -> Plan:
    """The plan of a suite.

    Args:
        only: names of a model and a compressor: with that state and the dense one alone, which is all that a job needs.

    Raises:
        UsageError: a name that is not known, a file that is not there, an SAE that does not fit; with file and line.
    """
    return _Planner(source).plan(only)


class _Planner:
    """Puts together what the names of one suite stand for."""

    def __init__(self, source: SuiteFile) -> None:
        self._names = Lookup(source)
        self._texts = NamedTexts(self._names)

    def plan(self, only: tuple[str, str] | None) -> Plan:
        evaluation, calibration, training = self._texts.roles()
        labelled = self._texts.labelled()
        sets = [ExampleSet(text.name, text.attributes, text.spurious) for text in labelled]
        made = NamedTasks(self._names).all(sets)
        tasks = tuple(task for task in made if not isinstance(task, Cost))
        cost = next((task for task in made if isinstance(task, Cost)), None)
        found, compressors = self._models(), self._compressors()
        if only is not None:
            found = [model for model in found if model.name == only[0]]
            compressors = [one for one in compressors if not one.steps or one.name == only[1]]
        partial = Plan(self._names.suite, evaluation, calibration, training, labelled, tasks, cost, ())
        states = (state for model in found for state in states_of(partial, model, compressors, self._saes(model)))
        whole = replace(partial, states=tuple(states))
        self._texts.check(whole)
        return whole

    def _models(self) -> list[Model]:
        named: dict[str, Model] = {}
        for index, definition in enumerate(self._names.suite.models):
            model = self._model(("models", index), definition)
            self._names.check_name(("models", index), model.name, named)
            named[model.name] = model
        return list(named.values())

    def _model(self, place: Place, definition: Definition) -> Model:
        """A model; one whose own code would run is refused unless the user, and not the suite alone, allows it."""
        asks = isinstance(definition, Mapping) and bool(definition.get("trust_remote_code"))
        if asks and not self._names.source.trusts_remote_code:
            raise self._names.mistake(
                place,
                "this model comes with Python code of its own, which would run here. Where you trust it, run again "
                "with --trust-remote-code.",
            )
        return self._names.located(place, models.resolve, definition)

    def _compressors(self) -> list[Compressor]:
        named: dict[str, Compressor] = {}
        for index, definition in enumerate(self._names.suite.compressors):
            compressor = self._names.located(("compressors", index), shelf.resolve, definition, named=named)
            self._names.check_name(("compressors", index), compressor.name, named)
            named[compressor.name] = compressor
        dense = [compressor for compressor in named.values() if not compressor.steps]
        dense = dense[:1] or [self._names.located(("compressors",), shelf.resolve, DENSE, named={})]
        return [*dense, *(compressor for compressor in named.values() if compressor.steps)]

    def _saes(self, model: Model) -> list[SaeEntry]:
        self._check_context(model)
        named: dict[str, SaeEntry] = {}
        for index, definition in enumerate(self._names.suite.saes):
            own, only_for = _for_model(definition)
            if only_for is not None and only_for != model.name:
                self._check_model_name(("saes", index, "model"), only_for)
                continue
            for one in self._expanded(("saes", index), own):
                entry = self._names.located(("saes", index), resolve_sae, one, named=named, config=model.config)
                self._names.check_name(("saes", index), entry.name, named)
                named[entry.name] = entry
        return list(named.values())

    def _expanded(self, place: Place, definition: Definition) -> list[Definition]:
        try:
            return expanded(definition)
        except RegistryError as error:
            raise self._names.mistake(place, str(error)) from error

    def _check_model_name(self, place: Place, name: str) -> None:
        known = [d if isinstance(d, str) else str(d.get("name")) for d in self._names.suite.models]
        if name not in known:
            raise self._names.mistake(place, str(unknown("model of this suite", name, known)))

    def _check_context(self, model: Model) -> None:
        longest = getattr(model.config, "max_position_embeddings", None)
        for place, context in (
            (("data", "context"), self._names.suite.data.context),
            (("data", "calibration", "context"), self._names.suite.data.calibration.context or 0),
        ):
            if longest is not None and context > longest:
                message = f"windows of {context} positions do not fit model '{model.name}', which takes {longest}."
                raise self._names.mistake(place, message)


def _for_model(definition: Definition) -> tuple[Definition, str | None]:
    """An SAE's definition without the key `model`, and the model it is for; None for all models of the suite."""
    if isinstance(definition, Mapping) and "model" in definition:
        return {key: value for key, value in definition.items() if key != "model"}, str(definition["model"])
    return definition, None
