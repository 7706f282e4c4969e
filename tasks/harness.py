"""lm-eval in this process: one door, behind which it neither talks nor changes what it is given.

Left to itself, lm-eval logs and draws progress bars, seeds the global random generators, gives the tokenizer a padding
token, and ties the model's embeddings again, which would undo a compression of either of them. Nothing of that is left
after `evaluate`. Requests are never cached: its caches do not know that there is an SAE in the model.

BOS follows the tokenizer's own habit, as lm-eval has it, unless `add_bos` says otherwise; a text that begins with the
BOS token gets no second one. The longest input is what the model's configuration allows; longer ones are cut on the
left.
"""

from __future__ import annotations

import copy
import difflib
import io
import json
import logging
import math
import random
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager


class HarnessError(ValueError):
    """lm-eval does not know a task, or fails on one."""


@dataclass(frozen=True)
class Wanted:
    """Which tasks are run."""

    names: tuple[str, ...]
    """Tasks or groups."""
    folders: tuple[Path, ...]
    """Where tasks are defined that lm-eval does not bring along."""
    others: bool
    """Whether tasks that lm-eval brings along may be meant: to know them takes it seconds."""
    metric: str | None
    """To be taken; None: the first of each task that scores single examples, more being better."""


@dataclass(frozen=True)
class Protocol:
    """How tasks are run."""

    limit: int | None
    """At most so many examples of each task."""
    num_fewshot: int | None
    """Worked examples in front of each question; None: what the task itself asks for."""
    add_bos: bool | None
    """Whether texts begin with BOS; None: where the tokenizer puts it there."""
    batch_size: int


@dataclass(frozen=True)
class Answers:
    """What a model made of the examples of one entry: a task of lm-eval, or all tasks of a group."""

    scores: np.ndarray
    """One score for each example, tasks of a group after each other."""
    prompts: tuple[str, ...]
    """Hash of each example's prompt: by it two runs are known to have asked the same."""
    metrics: Mapping[str, str]
    """Task -> the metric that was taken."""


@dataclass(frozen=True)
class Outcome:
    """One run of lm-eval."""

    answers: Mapping[str, Answers]
    """By entry."""
    report: Mapping[str, Any]
    """lm-eval's own results, versions of its tasks, examples in front of each, as JSON values."""


def evaluate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, wanted: Wanted, protocol: Protocol) -> Outcome:
    """Run tasks of lm-eval on a model as it stands, with whatever is hooked into it.

    Raises:
        HarnessError: an unknown name, a task without such a metric, or one that lm-eval fails on.
    """
    import lm_eval

    run: Any = lm_eval.simple_evaluate  # a decorator hides its signature from type checkers
    with _quiet(), _generators_kept(), _untied(model):
        manager = _manager(wanted.folders, wanted.others)
        _check(wanted.names, manager)
        try:
            results = run(
                model=adapter(model, tokenizer, protocol),
                tasks=list(wanted.names),
                task_manager=manager,
                num_fewshot=protocol.num_fewshot,
                limit=protocol.limit,
                use_cache=None,
                cache_requests=False,
                log_samples=True,
                bootstrap_iters=0,
            )
        except Exception as error:  # whatever a task's own code does wrong: say which tasks these were
            raise HarnessError(
                f"lm-eval failed on {', '.join(wanted.names)}: {type(error).__name__}: {error}"
            ) from error
    answers = {name: _answers(results, _leaves(results, name), wanted.metric) for name in wanted.names}
    kept = {key: results[key] for key in ("results", "versions", "n-shot")}
    return Outcome(answers, {"lm_eval": lm_eval.__version__, **_as_json(kept)})


@cache
def _manager(folders: tuple[Path, ...], others: bool) -> TaskManager:
    """lm-eval's index of tasks."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=[str(folder) for folder in folders], include_defaults=others)


def _check(names: Sequence[str], manager: TaskManager) -> None:
    for name in names:
        if name in manager.all_tags:
            raise HarnessError(f"'{name}' is a tag of lm-eval, which stands for several tasks: name these.")
        if name not in manager.all_tasks:
            close = difflib.get_close_matches(name, manager.all_tasks, n=3, cutoff=0.6)
            guess = f" Did you mean {' or '.join(close)}?" if close else ""
            raise HarnessError(
                f"lm-eval knows no task '{name}'.{guess} Allowed: what `lm_eval ls tasks` lists, a YAML file of a task "
                "or a group, a folder of such files."
            )


def adapter(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, protocol: Protocol) -> Any:
    """The model as lm-eval wants it."""
    from lm_eval.models.huggingface import HFLM

    own = copy.deepcopy(tokenizer)
    if protocol.add_bos is not None:
        # Where the tokenizer's template decides, lm-eval's argument alone (`add_special_tokens`) adds nothing.
        own.add_bos_token = protocol.add_bos  # type: ignore[attr-defined]
    make: Any = HFLM  # type checkers see the signature of its base class
    return make(
        pretrained=model,
        tokenizer=own,
        batch_size=protocol.batch_size,
        add_bos_token=protocol.add_bos,
        backend="causal",
    )


def _leaves(results: Mapping[str, Any], name: str) -> list[str]:
    """The tasks under a name: itself, or those of a group and its groups."""
    children = results["group_subtasks"].get(name, ())
    return [leaf for child in children for leaf in _leaves(results, child)] if children else [name]


def _answers(results: Mapping[str, Any], tasks: Collection[str], metric: str | None) -> Answers:
    scores: list[float] = []
    prompts: list[str] = []
    metrics: dict[str, str] = {}
    for task in tasks:
        samples = results["samples"][task]
        # A task may read its answers in several ways (strictly, leniently): the first one counts.
        rows = sorted((s for s in samples if s["filter"] == samples[0]["filter"]), key=lambda s: s["doc_id"])
        metrics[task] = _metric_of(task, rows[0], results["higher_is_better"][task], metric)
        scores += [float(row[metrics[task]]) for row in rows]
        prompts += [row["prompt_hash"] for row in rows]
    return Answers(np.asarray(scores), tuple(prompts), metrics)


def _metric_of(task: str, row: Mapping[str, Any], better: Mapping[str, bool], wanted: str | None) -> str:
    """The metric of a task to be taken: it scores single examples, and more is better."""
    usable = [name for name in better if better[name] and isinstance(row.get(name), bool | int | float | np.number)]
    if wanted in usable:
        return str(wanted)
    if wanted is None and usable:
        return usable[0]
    asked = "no metric that scores single examples, more being better" if wanted is None else f"no metric '{wanted}'"
    raise HarnessError(f"Task {task} of lm-eval has {asked}. It has: {', '.join(usable or better) or 'none'}.")


def _as_json(value: Any) -> Any:
    """The same as JSON values: numbers that are not finite become None, what is no JSON becomes text."""

    def finite(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: finite(inner) for key, inner in part.items()}
        if isinstance(part, list):
            return [finite(inner) for inner in part]
        return None if isinstance(part, float) and not math.isfinite(part) else part

    return finite(json.loads(json.dumps(value, default=str)))


@contextmanager
def _quiet() -> Iterator[None]:
    """No log lines, bars, prints or warnings of lm-eval and of what it calls."""
    import datasets

    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "transformers")]
    levels = [logger.level for logger in loggers]
    bars = datasets.is_progress_bar_enabled()
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(redirect_stdout(io.StringIO()))
        stack.enter_context(redirect_stderr(io.StringIO()))
        datasets.disable_progress_bars()
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if bars:
                datasets.enable_progress_bars()


@contextmanager
def _generators_kept() -> Iterator[None]:
    """What lm-eval draws and seeds leaves the global random generators as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # what lm-eval seeds
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def _untied(model: PreTrainedModel) -> Iterator[None]:
    """`model.tie_weights()` does nothing: the state's embeddings are as its compressor left them."""
    model.tie_weights = lambda *_args, **_kwargs: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        del model.tie_weights
