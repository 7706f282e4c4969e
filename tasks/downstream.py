"""What the state answers in tasks of lm-eval, and what it answers with the SAE in it.

For every entry of a suite (a task of lm-eval, or a group, whose examples are taken together), over its examples:

    accuracy_splice_change = accuracy_spliced - accuracy_state       what the SAE costs the state, below 0
    accuracy_model_change  = accuracy_state - accuracy_state of the dense state        what compression costs the model
    transfer_gap           = accuracy_splice_change of the same SAE entry on the dense state - accuracy_splice_change
                             what compression costs the SAE, above 0; as `perplexity.transfer_gap`, in accuracy

and the same as means over entries. Scores of single examples are lm-eval's own (`acc`, `acc_norm`, `exact_match`, ...:
the first of each task, or the one that the suite names); state and splice are asked the same questions, so the changes
are paired by example. lm-eval's own results are in the details.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from . import harness
from .harness import Outcome, Protocol, Wanted
from .metric import Metric, Totals, Values, ratio
from .perplexity import NO_DENSE
from .task import DENSE_CELL, Sums

_ENDINGS = (".yaml", ".yml")

MOST_UNITS = 1024
"""At most so many resampling units of an entry: beyond, examples are dealt out to them in turn."""


def _findable(tasks: tuple[str, ...]) -> tuple[str, ...]:
    for task in tasks:
        path = Path(task)
        looks_like_file = len(path.parts) > 1 or path.suffix in _ENDINGS
        if looks_like_file and not path.is_absolute():
            raise ValueError(f"'{task}' must be a name of lm-eval's or the absolute path of a YAML file or folder")
        if path.is_absolute() and not _files_of(path):
            raise ValueError(f"'{task}' is no YAML file of a task, and no folder with such files")
    names = [entry.name for entry in _entries(tasks)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)} must be named, and defined, once")
    return tasks


class DownstreamSettings(BaseModel):
    """What a suite can choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_findable)] = ("microworld",)
    """Tasks and groups of lm-eval by name; YAML files of a task or group, or folders of tasks, by absolute path."""
    metric: str | None = None
    """Metric of the tasks that is taken for accuracy; None: the first of each that scores single examples."""
    limit: Annotated[int, Field(ge=1)] | None = None
    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    add_bos: bool | None = None
    """Whether texts begin with BOS; None: where the tokenizer puts it there by itself."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Changes no figure."""


def _files_of(path: Path) -> list[Path]:
    """The YAML files that a path stands for."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*.yaml") if _name_in(file, ("task",)) is not None)
    defines = path.is_file() and path.suffix in _ENDINGS and isinstance(_content(path), dict)
    return [path] if defines else []


class _AnyTag(yaml.SafeLoader):
    """Reads lm-eval's files without resolving their functions."""


_AnyTag.add_multi_constructor("!", lambda _loader, _tag, _node: None)


def _name_in(file: Path, keys: Sequence[str] = ("group", "task")) -> str | None:
    """What the task or group of a YAML file is called; None where it defines none (a file to be included)."""
    content = _content(file)
    found = (content.get(key) for key in keys) if isinstance(content, dict) else ()
    return next((name for name in found if isinstance(name, str)), None)


def _content(file: Path) -> Any:
    try:
        return yaml.load(file.read_text(encoding="utf-8"), Loader=_AnyTag)  # noqa: S506  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no YAML: {error}") from error


@dataclass(frozen=True)
class _Entry:
    """A task or group of lm-eval."""

    name: str
    folder: Path | None
    """Where it is defined; None: it comes with lm-eval."""
    content: str | None
    """Hash of the file that defines it and of those beside it."""
    needs_others: bool
    """Whether tasks that come with lm-eval have to be known."""

    @property
    def identity(self) -> str | dict[str, str]:
        """What enters the cell id: the name of the folder is no part of what the task is."""
        return self.name if self.content is None else {"task": self.name, "content": self.content}


def _entries(tasks: Sequence[str]) -> list[_Entry]:
    return [entry for task in tasks for entry in _entries_of(task)]


def _entries_of(task: str) -> Iterator[_Entry]:
    if not Path(task).is_absolute():
        yield _Entry(task, None, None, True)
        return
    for file in _files_of(Path(task)):
        is_group = _name_in(file, ("group",)) is not None
        yield _Entry(_name_in(file) or file.stem, file.parent, _content_of(file), is_group)


def _content_of(file: Path) -> str:
    digest = hashlib.sha256()
    for part in sorted(part for part in file.parent.iterdir() if part.is_file()):
        digest.update(part.name.encode() + b"\0" + hashlib.sha256(part.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _accuracy(which: str, entry: str, prefix: str = "") -> Callable[[Totals], Values]:
    def compute(totals: Totals) -> Values:
        if f"{prefix}{which}.{entry}" not in totals:
            return np.full_like(np.asarray(totals[f"n.{entry}"]), np.nan)
        return ratio(totals[f"{prefix}{which}.{entry}"], totals[f"{prefix}n.{entry}"])

    return compute


def _change(entry: str, prefix: str = "") -> Callable[[Totals], Values]:
    spliced, state = _accuracy("spliced", entry, prefix), _accuracy("state", entry, prefix)
    return lambda totals: spliced(totals) - state(totals)


def _model_change(entry: str) -> Callable[[Totals], Values]:
    here, dense = _accuracy("state", entry), _accuracy("state", entry, DENSE_CELL)
    return lambda totals: here(totals) - dense(totals)


def _transfer_gap(entry: str) -> Callable[[Totals], Values]:
    here, dense = _change(entry), _change(entry, DENSE_CELL)
    return lambda totals: dense(totals) - here(totals)


def _mean_over(
    figure: Callable[[str], Callable[[Totals], Values]], entries: Sequence[str]
) -> Callable[[Totals], Values]:
    computes = [figure(entry) for entry in entries]
    return lambda totals: sum(compute(totals) for compute in computes) / len(computes)


@dataclass(frozen=True)
class _Figure:
    """A figure, whatever entries it is taken over."""

    name: str
    of: Callable[[str], Callable[[Totals], Values]]
    """From an entry to how the figure follows from sums."""
    definition: str
    higher_is_better: bool = True
    valid_range: tuple[float, float] = (-1.0, 1.0)
    source: str = "saetransfer"
    undefined: str = "there are no examples"


_share = partial(_Figure, valid_range=(0.0, 1.0), source="EleutherAI/lm-evaluation-harness")

_FIGURES = (
    _share("accuracy_state", partial(_accuracy, "state"), "share of right answers of the state"),
    _share("accuracy_spliced", partial(_accuracy, "spliced"), "share of right answers of the state with the SAE in"),
    _Figure(
        "accuracy_splice_change",
        _change,
        "accuracy_spliced - accuracy_state: what the SAE costs this state, below 0",
    ),
    _Figure(
        "accuracy_model_change",
        _model_change,
        "accuracy_state - that of the dense state: what compression costs the model, below 0",
        undefined=NO_DENSE,
    ),
    _Figure(
        "transfer_gap",
        _transfer_gap,
        "accuracy_splice_change of the same SAE entry on the dense state - that here: what compression costs the SAE",
        higher_is_better=False,
        valid_range=(-2.0, 2.0),
        undefined=NO_DENSE,
    ),
)


def _metrics(entries: Sequence[str]) -> tuple[Metric, ...]:
    """Every figure as the mean over entries, then for each entry where there are several."""
    if len(entries) == 1:
        return tuple(_metric(figure, entries) for figure in _FIGURES)
    whole = [_metric(figure, entries, lead="mean over tasks: ") for figure in _FIGURES]
    parts = [_metric(figure, [name], f"{name}.", f"{name}: ") for name in entries for figure in _FIGURES]
    return (*whole, *parts)


def _metric(figure: _Figure, entries: Sequence[str], scope: str = "", lead: str = "") -> Metric:
    return Metric(
        name=f"downstream.{scope}{figure.name}",
        unit="1",
        higher_is_better=figure.higher_is_better,
        definition=lead + figure.definition,
        source=figure.source,
        compute=_mean_over(figure.of, entries),
        undefined=figure.undefined,
        counted=f"n.{entries[0]}" if len(entries) == 1 else "n_examples",
        valid_range=figure.valid_range,
    )


class Downstream:
    """The task `downstream`."""

    name: str = "downstream"
    version: int = 1

    def __init__(self, settings: DownstreamSettings) -> None:
        self._settings = settings

    @cached_property
    def _entries(self) -> list[_Entry]:
        return _entries(self._settings.tasks)

    @property
    def _names(self) -> list[str]:
        return [entry.name for entry in self._entries]

    @property
    def params(self) -> Mapping[str, Any]:
        """What enters the cell id: tasks by their content, not by their place."""
        chosen = self._settings.model_dump(mode="json", exclude={"tasks", "batch_size"})
        return {"tasks": [entry.identity for entry in self._entries], **chosen}

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The means over entries, and those of each."""
        return _metrics(self._names)

    @property
    def paired(self) -> tuple[str, ...]:
        """All sums: each is compared with that of the dense cell."""
        return tuple(f"{which}.{name}" for name in self._names for which in ("n", "state", "spliced"))

    def run(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Outcome:
        """The state's own answers.

        Raises:
            HarnessError: an unknown task, or one that lm-eval fails on.
        """
        settings = self._settings
        folders = dict.fromkeys(entry.folder for entry in self._entries if entry.folder is not None)
        wanted = Wanted(
            tuple(self._names),
            tuple(folders),
            any(entry.needs_others for entry in self._entries),
            settings.metric,
        )
        protocol = Protocol(settings.limit, settings.num_fewshot, settings.add_bos, settings.batch_size)
        return harness.evaluate(model, tokenizer, wanted, protocol)

    def count(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        spliced: Callable[[], AbstractContextManager[None]],
        plain: Outcome,
    ) -> Sums:
        """The answers with the SAE in the model, beside the state's own.

        Raises:
            HarnessError: as `run`; or a task that asks other questions every time it is made.
        """
        with spliced():
            changed = self.run(model, tokenizer)
        return compare(self._names, plain, changed)


def compare(names: Sequence[str], plain: Outcome, changed: Outcome) -> Sums:
    """The sums of two runs over the same examples.

    Raises:
        HarnessError: they were not the same.
    """
    samples = {}
    for name in names:
        before, after = plain.answers[name], changed.answers[name]
        if before.prompts != after.prompts:
            raise harness.HarnessError(
                f"{name} asks other questions every time it is made, so that answers cannot be compared. Give it fixed "
                "documents, and num_fewshot: 0."
            )
        scores = {"n": np.ones_like(before.scores), "state": before.scores, "spliced": after.scores}
        samples[f"downstream.{name}"] = {f"{which}.{name}": _units(values) for which, values in scores.items()}
    details = {
        "metric": {name: dict(plain.answers[name].metrics) for name in names},
        "state": dict(plain.report),
        "spliced": dict(changed.report),
    }
    return Sums(samples, {"n_examples": float(sum(len(plain.answers[name].scores) for name in names))}, details)


def _units(scores: np.ndarray) -> np.ndarray:
    """Scores summed by resampling unit."""
    return np.bincount(np.arange(len(scores)) % MOST_UNITS, weights=scores)
