"""From a suite to states and cells: every name looked up, every cell with its id, before anything is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...leaderboard.record import Labels, cell_id_of
from ...registry import labelled, models, texts
from ...registry.compressors import shelf
from ...registry.compressors.method import Compressor
from ...registry.errors import RegistryError, unknown
from ...registry.labelled import Labelled
from ...registry.microworld import DOWNSTREAM_FOLDER
from ...registry.mistakes import explain
from ...registry.models import Model
from ...registry.saes import lineage
from ...registry.saes.entry import SaeEntry
from ...registry.saes.resolve import resolve as resolve_sae
from ...registry.texts import Role, Text
from ...registry.words import MOST_WORDS
from ...tasks.absorption import WORDS
from ...tasks.cost.task import Cost
from ...tasks.examples import ExampleSet
from ...tasks.shelf import KINDS
from ...tasks.task import LabelledTask, Task
from .layers import expanded
from .suite import Definition, Place, Suite, SuiteFile

DENSE = "dense"
MICROWORLD = "microworld"
_SHOWN = 60
"""Characters of a document that a message shows."""


@dataclass(frozen=True)
class CellPlan:
    """One cell: an SAE on a state."""

    labels: Labels
    sae: SaeEntry
    prepend_bos: bool
    spec: dict[str, Any]
    origin: SaeEntry | str
    """The frozen SAE whose latents this one's are; or why there is none."""
    counterpart: SaeEntry | str
    """The frozen SAE at the same site; or why there is none."""

    @cached_property
    def cell_id(self) -> str:
        """Hash of the spec."""
        return cell_id_of(self.spec)

    @property
    def path(self) -> str:
        """`model/compressor/sae`, what `--only` matches."""
        return f"{self.labels.model}/{self.labels.compressor}/{self.labels.sae}"


@dataclass(frozen=True)
class StatePlan:
    """One state and its cells: a job."""

    model: Model
    compressor: Compressor
    cells: tuple[CellPlan, ...]

    @property
    def name(self) -> str:
        """`model/compressor`."""
        return f"{self.model.name}/{self.compressor.name}"

    @property
    def is_dense(self) -> bool:
        """Whether this is the state that the others are compared with."""
        return not self.compressor.steps


@dataclass(frozen=True)
class Plan:
    """A suite with every name looked up. The dense state of a model comes before its other states."""

    suite: Suite
    evaluation: Text
    calibration: Text
    training: Text
    labelled: tuple[Labelled, ...]
    """Labelled texts that some task looks at."""
    tasks: tuple[Task, ...]
    """Those that measure quality."""
    cost: Cost | None
    """What measures costs, where the suite asks for them; they change no quality, so they enter no cell id."""
    states: tuple[StatePlan, ...]

    @property
    def compares_features(self) -> bool:
        """Whether a task compares latents with those of the dense state."""
        return any(KINDS[task.name].compares for task in self.tasks)

    @property
    def is_of_microworld(self) -> bool:
        """Whether it is about the microworld, whose words are asked for as its stories do."""
        return self.evaluation.name == MICROWORLD

    @property
    def labelled_tasks(self) -> list[LabelledTask]:
        """Tasks that look at labelled examples."""
        return [task for task in self.tasks if isinstance(task, LabelledTask)]

    @property
    def cells(self) -> list[CellPlan]:
        """All cells, state by state."""
        return [cell for state in self.states for cell in state.cells]

    def dense_of(self, state: StatePlan) -> StatePlan:
        """The dense state of that state's model."""
        return next(other for other in self.states if other.is_dense and other.model.name == state.model.name)

    def sae_identity(self, entry: SaeEntry, prepend_bos: bool) -> dict[str, Any]:
        """What identifies an SAE on a given state: its entry, and the texts that made it."""
        used = [ancestor for ancestor in lineage.ancestors(entry) if ancestor.on is not None]
        identity = entry.identity()
        cut = {"context": self.suite.data.context, "bos": prepend_bos}
        if any(ancestor.reads == "training" for ancestor in used):
            identity["training"] = {**self.training.identity("training"), **cut}
        if any(ancestor.reads == "calibration" for ancestor in used):
            identity["calibration"] = {**self.calibration.identity("calibration"), **cut}
        return identity

    def counterpart_identity(self, counterpart: SaeEntry | str, prepend_bos: bool) -> dict[str, Any]:
        """What a cell's figures depend on beside its own SAE, where a task compares dictionaries."""
        if isinstance(counterpart, str) or not self.compares_features:
            return {}
        return {"counterpart": self.sae_identity(counterpart, prepend_bos)}

    def compared_with(self, cell: CellPlan) -> list[SaeEntry]:
        """The SAEs that the tasks need beside that of a cell."""
        both = (cell.origin, cell.counterpart) if self.compares_features else ()
        return [entry for entry in both if not isinstance(entry, str)]

    def task_identity(self, task: Task) -> dict[str, Any]:
        """What identifies a task on an SAE: version, settings, and what it looks at beside the evaluation text."""
        identity: dict[str, Any] = {"version": task.version, **task.params}
        if isinstance(task, LabelledTask):
            identity["sets"] = {text.name: text.identity for text in self.labelled if text.name in task.sets}
            if WORDS in task.sets:
                identity["sets"][WORDS] = {"most": MOST_WORDS, "microworld": self.is_of_microworld}
        return identity

    def calibration_identity(self, prepend_bos: bool) -> dict[str, Any]:
        """What identifies the sequences that compressors see."""
        settings = self.suite.data.calibration
        context = settings.context or self.suite.data.context
        identity = self.calibration.identity("calibration")
        drawn = {"sequences": settings.sequences, "context": context, "bos": prepend_bos, "seed": settings.seed}
        return {**identity, **drawn, "propagation": settings.propagation}


def make(source: SuiteFile) -> Plan:
    """The plan of a suite.

    Raises:
        UsageError: a name that is not known, a file that is not there, an SAE that does not fit; with file and line.
    """
    return _Planner(source).plan()


def select(plan: Plan, pattern: str) -> Plan:
    """The plan with only the cells whose `model/compressor/sae` matches, and the dense cells they are compared with.

    Args:
        pattern: a shell pattern (`*/wanda-*/*`); without a slash it may match any one of the three names.
    """
    chosen = [cell for cell in plan.cells if _matches(cell, pattern)]
    compared = {(cell.labels.model, cell.labels.sae) for cell in chosen}

    def kept(state: StatePlan, cell: CellPlan) -> bool:
        return cell in chosen or (state.is_dense and (cell.labels.model, cell.labels.sae) in compared)

    states = (replace(state, cells=tuple(cell for cell in state.cells if kept(state, cell))) for state in plan.states)
    return replace(plan, states=tuple(state for state in states if state.cells))


def _matches(cell: CellPlan, pattern: str) -> bool:
    if "/" in pattern:
        return fnmatchcase(cell.path, pattern)
    return any(fnmatchcase(name, pattern) for name in cell.path.split("/"))


class _Planner:
    """Looks up the names of one suite and says where in the file a mistake stands."""

    def __init__(self, source: SuiteFile) -> None:
        self._source = source
        self._suite = source.suite

    def plan(self) -> Plan:
        evaluation, calibration, training = self._texts()
        labelled = self._labelled()
        sets = [ExampleSet(text.name, text.attributes, text.spurious) for text in labelled]
        made = [self._task(index, definition, sets) for index, definition in enumerate(self._suite.tasks)]
        found = [self._model(("models", index), definition) for index, definition in enumerate(self._suite.models)]
        for key, names in (("models", [model.name for model in found]), ("tasks", [task.name for task in made])):
            for index, name in enumerate(names):
                self._check_name((key, index), name, names[:index])
        compressors = self._compressors()
        tasks = tuple(task for task in made if not isinstance(task, Cost))
        cost = next((task for task in made if isinstance(task, Cost)), None)
        partial = Plan(self._suite, evaluation, calibration, training, labelled, tasks, cost, ())
        states = tuple(
            StatePlan(model, compressor, self._cells(partial, model, compressor, saes))
            for model in found
            for saes in [self._saes(model)]
            for compressor in compressors
        )
        whole = replace(partial, states=states)
        self._check_texts(whole)
        return whole

    def _model(self, place: Place, definition: Definition) -> Model:
        """A model; one whose own code would run is refused unless the user, and not the suite alone, allows it."""
        asks = isinstance(definition, Mapping) and bool(definition.get("trust_remote_code"))
        if asks and not self._source.trusts_remote_code:
            raise self._source.mistake(
                place,
                "this model comes with Python code of its own, which would run here. Where you trust it, run again "
                "with --trust-remote-code.",
            )
        return self._located(place, models.resolve, definition)

    def _located(self, place: Place, resolve: Any, definition: Definition, **arguments: Any) -> Any:
        try:
            return resolve(definition, folder=self._source.folder, **arguments)
        except RegistryError as error:
            raise self._source.mistake(place, str(error)) from error

    def _texts(self) -> tuple[Text, Text, Text]:
        data = self._suite.data
        alone = data.calibration.text is not None and data.training.text is not None
        evaluation = self._located(("data", "text"), texts.resolve, data.text, divided=not alone)
        calibration, training = (self._other_text(section, evaluation) for section in ("calibration", "training"))
        return evaluation, calibration, training

    def _check_texts(self, plan: Plan) -> None:
        """Look into the texts that the plan will need, so that an empty or broken file shows now."""
        read = {ancestor.reads for cell in plan.cells for ancestor in lineage.ancestors(cell.sae)}
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
                raise self._source.mistake(place, str(error)) from error
            if shared is not None:
                shown = shared if len(shared) <= _SHOWN else f"{shared[:_SHOWN]}..."
                message = f"it shares documents with the evaluation text, such as {shown!r}. Figures would be measured "
                raise self._source.mistake(
                    place, f"{message}on what was seen before: take those out of one of the two."
                )

    def _other_text(self, section: str, evaluation: Text) -> Text:
        """The text for calibration or training: one of its own, or the evaluation text's part for that."""
        own = getattr(self._suite.data, section).text
        if own is None:
            return evaluation
        place = ("data", section, "text")
        text = self._located(place, texts.resolve, own, divided=False)
        if text.content == evaluation.content and not (text.divided and evaluation.divided):
            what = "calibrated" if section == "calibration" else "trained"
            raise self._source.mistake(
                place,
                f"this is the evaluation text itself: the state would be measured on what it was {what} on. Leave it "
                "out to set a part of the text aside, or give another text.",
            )
        return text

    def _task(self, index: int, definition: Definition, sets: Sequence[ExampleSet]) -> Task | Cost:
        place: Place = ("tasks", index)
        given = {"name": definition} if isinstance(definition, str) else definition
        if "name" not in given:
            raise self._source.mistake(place, f"a task needs a 'name'. Known: {', '.join(KINDS)}.")
        name, settings = given["name"], {key: value for key, value in given.items() if key != "name"}
        if not isinstance(name, str) or name not in KINDS:
            raise self._source.mistake(place, str(unknown("task", str(name), KINDS)))
        kind = KINDS[name]
        if kind.names_tasks:
            settings = {**settings, "tasks": self._harness_tasks(place, settings.get("tasks"))}
        try:
            return kind.make(kind.settings(**settings), sets)
        except ValidationError as error:
            raise self._source.mistake(place, f"Task '{name}': " + explain(error, kind.settings, settings)) from None

    def _harness_tasks(self, place: Place, given: Any) -> Any:
        """Tasks of lm-eval with paths that are absolute; anything but a list of names is left to be refused."""
        if given is None and self._suite.data.text != MICROWORLD:
            raise self._source.mistake(place, "name the tasks of lm-eval to run: tasks: [arc_easy, my_task.yaml].")
        names = [MICROWORLD] if given is None else given
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return names
        return [self._harness_task(name) for name in names]

    def _harness_task(self, name: str) -> str:
        if name == MICROWORLD:
            return str(DOWNSTREAM_FOLDER)
        is_path = "/" in name or Path(name).suffix in (".yaml", ".yml")
        return str((self._source.folder / name).resolve()) if is_path else name

    def _labelled(self) -> tuple[Labelled, ...]:
        """The labelled texts that some task looks at; each is looked into, so that mistakes show now."""
        names = [
            definition if isinstance(definition, str) else definition.get("name") for definition in self._suite.tasks
        ]
        needing = [name for name in names if isinstance(name, str) and name in KINDS and KINDS[name].needs_labels]
        if not needing:
            return ()
        data = self._suite.data
        given = data.probing if data.probing is not None else [data.text] if data.text == MICROWORLD else []
        if not given:
            example = "[{path: train.jsonl, label: label}]"
            message = f"task '{needing[0]}' needs labelled texts: name some, for example {example}."
            raise self._source.mistake(("data", "probing"), message)
        found: list[Labelled] = []
        for index, definition in enumerate(given):
            place: Place = ("data", "probing", index) if data.probing is not None else ("data", "text")
            text = self._located(place, labelled.resolve, definition)
            if text.name == WORDS:
                raise self._source.mistake(place, f"'{WORDS}' are those that absorption asks for; give another name.")
            self._check_name(place, text.name, [other.name for other in found])
            try:
                labelled.check(text)
            except RegistryError as error:
                raise self._source.mistake(place, str(error)) from error
            found.append(text)
        return tuple(found)

    def _compressors(self) -> list[Compressor]:
        named: dict[str, Compressor] = {}
        for index, definition in enumerate(self._suite.compressors):
            compressor = self._located(("compressors", index), shelf.resolve, definition, named=named)
            self._check_name(("compressors", index), compressor.name, named)
            named[compressor.name] = compressor
        dense = [compressor for compressor in named.values() if not compressor.steps]
        dense = dense[:1] or [self._located(("compressors",), shelf.resolve, DENSE, named={})]
        return [*dense, *(compressor for compressor in named.values() if compressor.steps)]

    def _saes(self, model: Model) -> list[SaeEntry]:
        self._check_context(model)
        named: dict[str, SaeEntry] = {}
        for index, definition in enumerate(self._suite.saes):
            own, only_for = _for_model(definition)
            if only_for is not None and only_for != model.name:
                self._check_model_name(("saes", index, "model"), only_for)
                continue
            for one in self._expanded(("saes", index), own):
                entry = self._located(("saes", index), resolve_sae, one, named=named, config=model.config)
                self._check_name(("saes", index), entry.name, named)
                named[entry.name] = entry
        return list(named.values())

    def _expanded(self, place: Place, definition: Definition) -> list[Definition]:
        try:
            return expanded(definition)
        except RegistryError as error:
            raise self._source.mistake(place, str(error)) from error

    def _check_model_name(self, place: Place, name: str) -> None:
        known = [d if isinstance(d, str) else str(d.get("name")) for d in self._suite.models]
        if name not in known:
            raise self._source.mistake(place, str(unknown("model of this suite", name, known)))

    def _check_context(self, model: Model) -> None:
        longest = getattr(model.config, "max_position_embeddings", None)
        for place, context in (
            (("data", "context"), self._suite.data.context),
            (("data", "calibration", "context"), self._suite.data.calibration.context or 0),
        ):
            if longest is not None and context > longest:
                message = f"windows of {context} positions do not fit model '{model.name}', which takes {longest}."
                raise self._source.mistake(place, message)

    def _check_name(self, place: Place, name: str, taken: Iterable[str]) -> None:
        """Refuse a name that is there already, cannot be seen, or would not fit into MODEL/COMPRESSOR/SAE."""
        if not name.isprintable() or not name.strip():
            raise self._source.mistake(place, f"a name must be visible characters, got {name!r}.")
        if "/" in name:
            raise self._source.mistake(place, f"a name may not hold a slash, got '{name}'.")
        if name in taken:
            remedy = "name it once" if place[0] == "tasks" else "give one another name"
            raise self._source.mistake(place, f"'{name}' is there twice; {remedy}.")

    def _cells(
        self, plan: Plan, model: Model, compressor: Compressor, saes: Sequence[SaeEntry]
    ) -> tuple[CellPlan, ...]:
        return tuple(self._cell(plan, model, compressor, entry, lineage.counterpart(entry, saes)) for entry in saes)

    def _cell(
        self, plan: Plan, model: Model, compressor: Compressor, entry: SaeEntry, counterpart: SaeEntry | str
    ) -> CellPlan:
        data = self._suite.data
        bos = entry.prepend_bos if data.prepend_bos is None else data.prepend_bos
        spec: dict[str, Any] = {
            "model": model.identity,
            "compressor": compressor.identity,
            "calibration": plan.calibration_identity(calibration_bos(data)) if compressor.needs_calibration else None,
            "sae": plan.sae_identity(entry, bos) | plan.counterpart_identity(counterpart, bos),
            "site": entry.site.name,
            "data": {
                "text": plan.evaluation.identity("evaluation"),
                "tokens": data.tokens,
                "context": data.context,
                "bos": bos,
            },
            "tasks": {task.name: plan.task_identity(task) for task in plan.tasks},
            "seed": self._suite.seed,
        }
        labels = Labels(
            suite=self._suite.name,
            model=model.name,
            compressor=compressor.name,
            sae=entry.name,
            sae_source=entry.source,
            text=plan.evaluation.name,
        )
        return CellPlan(labels, entry, bos, spec, lineage.origin(entry), counterpart)


def calibration_bos(data: Any) -> bool:
    """Whether the sequences that compressors see begin with BOS: they do unless the suite says otherwise."""
    return True if data.prepend_bos is None else data.prepend_bos


def _for_model(definition: Definition) -> tuple[Definition, str | None]:
    """An SAE's definition without the key `model`, and the model it is for; None for all models of the suite."""
    if isinstance(definition, Mapping) and "model" in definition:
        return {key: value for key, value in definition.items() if key != "model"}, str(definition["model"])
    return definition, None
