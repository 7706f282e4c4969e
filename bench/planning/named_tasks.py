"""The tasks that a suite names, with their settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...registry.errors import unknown
from ...registry.microworld import DOWNSTREAM_FOLDER
from ...registry.mistakes import explain
from ...tasks.cost.task import Cost
from ...tasks.examples import ExampleSet
from ...tasks.shelf import KINDS
from ...tasks.task import Task
from .grid import MICROWORLD
from .lookup import Lookup
from .suite import Definition, Place


@dataclass(frozen=True)
class NamedTasks:
    """Of one suite."""

    _names: Lookup

    def all(self, sets: Sequence[ExampleSet]) -> list[Task | Cost]:
        """The tasks, in the order of the suite.

        Args:
            sets: labelled texts that they may look at.
        """
        made = [self._task(index, definition, sets) for index, definition in enumerate(self._names.suite.tasks)]
        taken: set[str] = set()
        for index, task in enumerate(made):
            self._names.check_name(("tasks", index), task.name, taken)
            taken.add(task.name)
        return made

    def _task(self, index: int, definition: Definition, sets: Sequence[ExampleSet]) -> Task | Cost:
        place: Place = ("tasks", index)
        given = {"name": definition} if isinstance(definition, str) else definition
        if "name" not in given:
            raise self._names.mistake(place, f"a task needs a 'name'. Known: {', '.join(KINDS)}.")
        name, settings = given["name"], {key: value for key, value in given.items() if key != "name"}
        if not isinstance(name, str) or name not in KINDS:
            raise self._names.mistake(place, str(unknown("task", str(name), KINDS)))
        kind = KINDS[name]
        if kind.names_tasks:
            settings = {**settings, "tasks": self._harness_tasks(place, settings.get("tasks"))}
        try:
            return kind.make(kind.settings(**settings), sets)
        except ValidationError as error:
            raise self._names.mistake(place, f"Task '{name}': " + explain(error, kind.settings, settings)) from None

    def _harness_tasks(self, place: Place, given: Any) -> Any:
        """Tasks of lm-eval with paths that are absolute; anything but a list of names is left to be refused."""
        if given is None and self._names.suite.data.text != MICROWORLD:
            raise self._names.mistake(place, "name the tasks of lm-eval to run: tasks: [arc_easy, my_task.yaml].")
        names = [MICROWORLD] if given is None else given
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return names
        return [self._harness_task(name) for name in names]

    def _harness_task(self, name: str) -> str:
        if name == MICROWORLD:
            return str(DOWNSTREAM_FOLDER)
        is_path = "/" in name or Path(name).suffix in (".yaml", ".yml")
        return str((self._names.source.folder / name).resolve()) if is_path else name
