"""What downstream asks and counts, with lm-eval on the microworld."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from saetransfer.registry.microworld import DOWNSTREAM_FOLDER, MODEL_FOLDER
from saetransfer.registry.microworld.questions import agreement, facts
from saetransfer.tasks import harness
from saetransfer.tasks.downstream import MOST_UNITS, Downstream, DownstreamSettings, compare
from saetransfer.tasks.estimate import estimate
from saetransfer.tasks.harness import Answers, HarnessError, Outcome, Protocol, Wanted
from saetransfer.tasks.shelf import make
from saetransfer.tasks.task import ModelTask, Sums, with_dense_cell

NAMES = ("microworld_agreement", "microworld_facts")
LIMIT = 20
TASK = Downstream(DownstreamSettings(tasks=(str(DOWNSTREAM_FOLDER),), limit=LIMIT))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(MODEL_FOLDER)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    """The microworld's model, damaged so that it knows some answers and not others."""
    model = AutoModelForCausalLM.from_pretrained(MODEL_FOLDER).eval().requires_grad_(False)
    damage(model, 0.7)
    return model


def damage(model: PreTrainedModel, share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if ".layers." in name and weight.ndim == 2:
            weight.add_(share * weight.std() * torch.randn(weight.shape, generator=generator))


@pytest.fixture(scope="module")
def plain(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Outcome:
    with torch.no_grad():
        return TASK.run(model, tokenizer)


@contextmanager
def other_weights(model: PreTrainedModel) -> Iterator[None]:
    """In the place of an SAE: something that changes answers while it is there."""
    head = model.get_output_embeddings()
    assert head is not None
    handle = head.register_forward_hook(lambda _module, _args, logits: -logits)
    try:
        yield
    finally:
        handle.remove()


def global_state(tokenizer: PreTrainedTokenizerBase) -> list[object]:
    """What lm-eval would change; not Python's generator, from which the checks of annotations draw."""
    numpy = np.random.get_state()  # noqa: NPY002  # what lm-eval seeds
    levels = [logging.getLogger(name).level for name in ("lm_eval", "datasets", "transformers")]
    return [str(numpy), torch.get_rng_state().tolist(), tokenizer.padding_side, levels]


def likeliest(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, document: dict[str, Any]) -> bool:
    """Whether the model prefers the right choice: all choices are single tokens."""
    ids = tokenizer(document["question"], add_special_tokens=False, return_tensors="pt")["input_ids"]
    choices = [tokenizer(f" {choice}", add_special_tokens=False)["input_ids"] for choice in document["choices"]]
    assert all(len(choice) == 1 for choice in choices)
    assert ids[0, 0] == tokenizer.bos_token_id
    logits = model(ids).logits[0, -1]
    return int(logits[[choice[0] for choice in choices]].argmax()) == document["answer"]


def test_it_is_a_model_task_and_the_shelf_makes_it() -> None:
    assert isinstance(make("downstream", {"tasks": [str(DOWNSTREAM_FOLDER)]}), ModelTask)


def test_scores_are_those_of_the_likeliest_choice_and_lm_evals_own(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, plain: Outcome
) -> None:
    for name, documents in zip(NAMES, (agreement(), facts()), strict=True):
        expected = [likeliest(model, tokenizer, documents["test"][row]) for row in range(LIMIT)]
        assert 0 < sum(expected) < LIMIT, name
        assert plain.answers[name].scores.tolist() == [float(right) for right in expected]
        assert plain.report["results"][name]["acc,none"] == pytest.approx(sum(expected) / LIMIT)
        assert plain.report["versions"][name] == 1
    json.dumps(plain.report, allow_nan=False)


def test_without_an_sae_nothing_changes_whatever_the_batch_size(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, plain: Outcome
) -> None:
    settings = DownstreamSettings(tasks=(str(DOWNSTREAM_FOLDER),), limit=LIMIT, batch_size=3)
    sums = Downstream(settings).count(model, tokenizer, nullcontext, plain)
    for name in NAMES:
        units = sums.samples[f"downstream.{name}"]
        assert np.array_equal(units[f"state.{name}"], units[f"spliced.{name}"])
    found = estimate(TASK.metrics, sums)
    assert (found["downstream.accuracy_splice_change"].value, found["downstream.accuracy_splice_change"].ci) == (
        0,
        (0, 0),
    )


def test_lm_eval_leaves_nothing_behind_and_says_nothing(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    plain: Outcome,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def no_network(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("something is fetched")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(type(model), "tie_weights", no_network)
    before = global_state(tokenizer)
    with torch.no_grad():
        sums = TASK.count(model, tokenizer, lambda: other_weights(model), plain)
    assert global_state(tokenizer) == before
    assert "tie_weights" not in vars(model)
    assert capfd.readouterr() == ("", "")
    value = estimate(TASK.metrics, sums)["downstream.accuracy_splice_change"].value
    assert value is not None and value != 0.0


# Figures, from answers that were made up.


def outcome(right: dict[str, list[float]]) -> Outcome:
    return Outcome(
        {
            name: Answers(np.asarray(scores), tuple(map(str, range(len(scores)))), MappingProxyType({name: "acc"}))
            for name, scores in right.items()
        },
        {},
    )


def sums_of(plain: dict[str, list[float]], spliced: dict[str, list[float]]) -> Sums:
    return compare(tuple(plain), outcome(plain), outcome(spliced))


PAIR = Downstream(DownstreamSettings(tasks=("one", "two")))


def test_changes_and_gap_are_those_of_the_definition() -> None:
    here = sums_of({"one": [1, 1, 0, 1], "two": [1, 0]}, {"one": [1, 0, 0, 0], "two": [0, 0]})
    dense = sums_of({"one": [1, 1, 1, 1], "two": [1, 1]}, {"one": [1, 1, 1, 0], "two": [1, 1]})
    paired = {name: values for units in dense.samples.values() for name, values in units.items()}
    found = {name: one.value for name, one in estimate(PAIR.metrics, with_dense_cell(here, paired)).items()}
    expected = {
        "one.accuracy_state": 3 / 4,
        "one.accuracy_spliced": 1 / 4,
        "one.accuracy_splice_change": -2 / 4,
        "one.accuracy_model_change": -1 / 4,
        "one.transfer_gap": -1 / 4 + 2 / 4,
        "two.accuracy_state": 1 / 2,
        "two.transfer_gap": 0 + 1 / 2,
        "accuracy_state": (3 / 4 + 1 / 2) / 2,
        "transfer_gap": (1 / 4 + 1 / 2) / 2,
    }
    for name, value in expected.items():
        assert found[f"downstream.{name}"] == pytest.approx(value), name


def test_a_cell_compared_with_itself_has_no_gap_and_one_without_a_dense_cell_has_a_reason() -> None:
    sums = sums_of({"one": [1, 1, 0], "two": [1, 0]}, {"one": [1, 0, 0], "two": [0, 0]})
    paired = {name: values for units in sums.samples.values() for name, values in units.items()}
    found = estimate(PAIR.metrics, with_dense_cell(sums, paired))["downstream.transfer_gap"]
    assert (found.value, found.ci) == (0.0, (0.0, 0.0))
    alone = estimate(PAIR.metrics, sums)["downstream.transfer_gap"]
    assert (alone.value, alone.reason) == (None, "the same SAE has no figures on the dense state")


def test_many_examples_share_units_and_the_accuracy_stays() -> None:
    scores = [float(number % 3 == 0) for number in range(3 * MOST_UNITS + 7)]
    sums = sums_of({"one": scores, "two": [1]}, {"one": scores, "two": [1]})
    assert len(sums.samples["downstream.one"]["n.one"]) == MOST_UNITS
    found = estimate(PAIR.metrics, sums)["downstream.one.accuracy_state"]
    assert found.value == pytest.approx(sum(scores) / len(scores))


def test_a_task_that_asks_other_questions_each_time_is_refused() -> None:
    plain = outcome({"one": [1, 0]})
    changed = Outcome({"one": Answers(np.ones(2), ("other", "questions"), MappingProxyType({}))}, {})
    with pytest.raises(HarnessError, match="one asks other questions every time"):
        compare(["one"], plain, changed)


# Settings.


def test_a_task_is_what_it_says_not_where_it_lies(tmp_path: Path) -> None:
    copied = shutil.copytree(DOWNSTREAM_FOLDER, tmp_path / "elsewhere")
    here, there = (Downstream(DownstreamSettings(tasks=(str(folder),))) for folder in (DOWNSTREAM_FOLDER, copied))
    assert here.params == there.params
    (copied / "facts.yaml").write_text((copied / "facts.yaml").read_text() + "\n# changed\n")
    assert Downstream(DownstreamSettings(tasks=(str(copied),))).params != here.params


def test_the_batch_size_is_no_parameter_and_the_limit_is() -> None:
    small, large, limited = (
        Downstream(DownstreamSettings(tasks=("piqa",), **chosen))
        for chosen in ({"batch_size": 1}, {"batch_size": 64}, {"limit": 5})
    )
    assert small.params == large.params != limited.params


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (("tasks/mine.yaml",), "must be a name of lm-eval's or the absolute path"),
        (("/nowhere/mine.yaml",), "is no YAML file of a task, and no folder with such files"),
        ((), "at least 1 item"),
        (("piqa", "piqa"), "piqa must be named, and defined, once"),
    ],
)
def test_tasks_that_cannot_be_found_are_refused(tasks: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DownstreamSettings(tasks=tasks)


# What lm-eval cannot do.


def run(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str, folder: Path, metric: str | None
) -> None:
    harness.evaluate(model, tokenizer, Wanted((name,), (folder,), False, metric), Protocol(4, None, None, 4))


def test_an_unknown_task_and_an_unknown_metric_are_named(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    with pytest.raises(HarnessError, match="knows no task 'microworld_fact'. Did you mean microworld_facts"):
        run(model, tokenizer, "microworld_fact", DOWNSTREAM_FOLDER, None)
    with pytest.raises(HarnessError, match="no metric 'f1'. It has: acc"):
        run(model, tokenizer, "microworld_facts", DOWNSTREAM_FOLDER, "f1")


def test_a_task_that_fails_is_named(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    text = (DOWNSTREAM_FOLDER / "facts.yaml").read_text().replace("doc_to_choice: choices", "doc_to_choice: nothing")
    (tmp_path / "mine.yaml").write_text(text.replace("microworld_facts", "mine"))
    with pytest.raises(HarnessError, match="lm-eval failed on mine: "):
        run(model, tokenizer, "mine", tmp_path, None)


@pytest.mark.parametrize(("add_bos", "begins"), [(None, False), (False, False), (True, True)])
def test_bos_is_the_tokenizers_own_habit_unless_the_suite_says_otherwise(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, add_bos: bool | None, begins: bool
) -> None:
    lm = harness.adapter(model, tokenizer, Protocol(None, None, add_bos, 1))
    bos = tokenizer.bos_token_id
    assert (lm.tok_encode("The word")[0] == bos) == begins
    assert lm.tok_encode("<bos>The word").count(bos) == 1
    ids, _ = lm.tok_batch_encode(["The word", "The word apple starts"])
    assert ((ids == bos).sum(dim=1) == begins).all()
    assert tokenizer("The word")["input_ids"][0] != bos


@pytest.mark.slow
def test_lm_evals_own_command_line_finds_the_same(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--device", "cpu", "--batch_size", "5"]
    command += ["--model_args", f"pretrained={tmp_path / 'model'}", "--include_path", str(DOWNSTREAM_FOLDER)]
    command += ["--tasks", ",".join(NAMES), "--output_path", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "out").rglob("results_*.json")
    theirs = json.loads(file.read_text())["results"]
    whole = Downstream(DownstreamSettings(tasks=(str(DOWNSTREAM_FOLDER),)))
    ours = whole.run(model, tokenizer)
    for name in NAMES:
        assert ours.answers[name].scores.mean() == pytest.approx(theirs[name]["acc,none"], abs=1e-12)
        assert 0.1 < theirs[name]["acc,none"] < 0.99
