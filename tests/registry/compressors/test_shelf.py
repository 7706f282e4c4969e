"""What a line of a suite stands for, and what a mistake in it is answered with."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from saetransfer.registry.calibration import Calibration
from saetransfer.registry.compressors.method import Compressor, compress
from saetransfer.registry.compressors.promise import Zeros
from saetransfer.registry.compressors.shelf import METHODS, listings, resolve
from saetransfer.registry.errors import Impossible, RegistryError
from tests.toys import toy_model, toy_tokens

PLUGINS = {
    "plugged": "tests.registry.compressors.test_shelf:halve",
    "offered": "saetransfer.registry.compressors.simulated.rounding:RTN",
    "wrong": "saetransfer.registry.compressors.shelf:__doc__",
    "broken": "no_such_package_anywhere:f",
}


def halve(model, calibration):
    return model


AUTHORS = '''
from __future__ import annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated
from pydantic import Field
if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass
class Settings:
    ratio: float


def shrink(model: PreTrainedModel, calibration, ratio: Annotated[float, Field(gt=0, le=1)] = 0.5, *, tag=None):
    """Scale everything down."""
    for parameter in model.model.layers.parameters():
        parameter.mul_(Settings(ratio).ratio)
    return model


def lonely(model):
    return model


def odd(model, calibration, ratio: NoSuchType = 1):
    return model
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(AUTHORS)
    (tmp_path / "broken.py").write_text("import no_such_module_anywhere\n")
    return tmp_path


def message(definition: Any, folder: Path, named: dict[str, Compressor] | None = None) -> str:
    with pytest.raises(RegistryError) as caught:
        resolve(definition, folder, named or {})
    return str(caught.value)


def test_a_users_function_is_read_checked_and_run(folder: Path) -> None:
    chosen = resolve({"method": "mine.py:shrink", "ratio": 0.25}, folder, {})
    assert (chosen.name, chosen.tier) == ("shrink", "user")
    assert chosen.steps[0].method.summary == "Scale everything down."
    model = toy_model("llama")
    before = model.model.layers[0].mlp.up_proj.weight.clone()
    after = compress(model, chosen, Calibration([toy_tokens()[0]])).model.layers[0].mlp.up_proj.weight
    assert (after == before * 0.25).all()


def test_identity_holds_all_parameters_and_the_file_but_not_the_name_or_the_folder(folder: Path) -> None:
    first = resolve({"name": "a", "method": "mine.py:shrink"}, folder, {})
    same = resolve({"name": "b", "method": str(folder / "mine.py:shrink"), "ratio": 0.5}, Path(), {})
    assert first.identity == same.identity
    assert first.identity[0]["params"] == {"ratio": 0.5, "tag": None}
    (folder / "mine.py").write_text(AUTHORS + "# changed\n")
    assert resolve({"method": "mine.py:shrink"}, folder, {}).identity != first.identity
    rounded = resolve({"name": "c", "method": "rtn", "bits": 4}, folder, {})
    assert rounded.identity == resolve("rtn-4", folder, {}).identity
    assert rounded.identity == [{"method": "rtn", "params": {"bits": 4, "group_size": None, "symmetric": True}}]
    assert json.loads(json.dumps(rounded.identity)) == rounded.identity
    assert resolve("dense", folder, {}).identity == resolve({"name": "d", "method": "dense"}, folder, {}).identity == []


def test_a_chain_takes_cards_earlier_entries_and_mappings(folder: Path) -> None:
    named = {"mine": resolve({"name": "mine", "method": "wanda", "sparsity": 0.4}, folder, {})}
    chosen = resolve({"name": "all", "chain": ["mine", "rtn-8", {"method": "rtn", "bits": 4}]}, folder, named)
    assert [step["method"] for step in chosen.identity] == ["wanda", "rtn", "rtn"]
    assert chosen.needs_calibration
    assert chosen.tier == "simulated"
    assert (chosen.promise.zeros, chosen.promise.bits) == ((Zeros(0.4),), 4)
    assert resolve({"name": "k", "chain": ["rtn-8", "bnb-int8"]}, folder, {}).tier == "kernel"
    assert resolve({"name": "both", "chain": ["all"]}, folder, {"all": chosen}).identity == chosen.identity


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("wnda-50", "Unknown compressor 'wnda-50'. Did you mean 'wanda-50'?"),
        ("wanda-55", "Another strength is written"),
        ("wanda", "Method 'wanda' needs the parameter 'sparsity'. Allowed: sparsity: number (above 0, below 1)"),
        ({"name": "a", "method": "wnda"}, "Unknown compression method 'wnda'. Did you mean 'wanda'?"),
        (
            {"name": "a", "method": "wanda", "sparsity": 1.5},
            "'sparsity' of method 'wanda' is 1.5: input should be less",
        ),
        ({"name": "a", "method": "wanda", "sparcity": 0.5}, "Unknown wanda parameter 'sparcity'. Did you mean 'spars"),
        (
            {"name": "a", "method": "rtn", "bits": "4"},
            "Parameter 'bits' of method 'rtn' is '4': input should be a valid",
        ),
        ({"name": "a", "method": "rtn", "bits": True}, "Parameter 'bits' of method 'rtn' is True"),
        ({"name": "a", "method": "rtn", "bits": 9}, "bits: integer (at least 2, at most 8)"),
        (
            {"name": "a", "method": "magnitude", "sparsity": 0.5, "scope": "x"},
            "scope: 'matrix' or 'row' or 'model', by default",
        ),
        ({"name": "a", "method": "wanda", "sparsity": float("nan")}, "finite number"),
        ({"name": "a", "method": "dense", "x": 1}, "Method 'dense' takes no parameters, got 'x'."),
        ({"method": "rtn", "bits": 4}, "needs a `name`"),
        ({"name": 3, "method": "rtn", "bits": 4}, "must be a text, got 3"),
        ({"name": "a"}, "either `method` or `chain`, got `name`"),
        ({"name": "a", "method": "rtn", "chain": ["rtn-4"]}, "either `method` or `chain`"),
        ({"name": "a", "method": 5}, "`method` must be the name of a method or `file.py:function`, got 5"),
        (5, "A compressor is a name or a mapping"),
        ({"name": "a", "chain": []}, "must be a list of compressors"),
        ({"name": "a", "chain": "rtn-4"}, "must be a list of compressors"),
        ({"chain": ["rtn-4"]}, "A chain of compressors needs a `name`"),
        ({"name": "a", "chain": ["dense"]}, "contains 'dense', which changes nothing"),
        ({"name": "a", "chain": ["rtn-4", "a"]}, "contains itself"),
        ({"name": "a", "chain": ["rtm-4"]}, "Did you mean 'rtn-4'?"),
        ({"name": "a", "chain": ["rtn-4"], "bits": 3}, "takes no parameters of its own (bits)"),
        ({"name": "a", "method": "mine.py:shrnk"}, "Unknown function 'mine.py:shrnk'. Did you mean 'mine.py:shrink'?"),
        ({"name": "a", "method": "mine.py"}, "names no function: write `mine.py:NAME`"),
        ({"name": "a", "method": "yours.py:shrink"}, "There is no file 'yours.py' in "),
        ({"name": "a", "method": "broken.py:f"}, "does not import: ModuleNotFoundError: No module named 'no_such_mod"),
        ({"name": "a", "method": "mine.py:lonely"}, "lonely(model) cannot be a compressor: it must take the model and"),
        ({"name": "a", "method": "mine.py:odd"}, "types of the parameters of odd cannot be read: name 'NoSuchType'"),
        ({"name": "a", "method": "mine.py:shrink", "ratio": 2.0}, "ratio: number (above 0, at most 1), by default 0.5"),
        ({"name": "a", "method": "mine.py:shrink", "ration": 0.2}, "Did you mean 'ratio'?"),
    ],
    ids=str,
)
def test_a_mistake_is_answered_with_what_is_allowed(definition: Any, expected: str, folder: Path) -> None:
    assert expected in message(definition, folder)


@pytest.mark.parametrize(
    "name", ["auto-gptq", "gptq-auto", "autogptq", "AutoGPTQ", {"name": "a", "method": "auto_gptq"}]
)
def test_auto_gptq_is_refused_with_what_to_use_instead(name: Any, folder: Path) -> None:
    assert "end-of-life" in message(name, folder)
    assert "gptqmodel" in message(name, folder)
    assert "`gptq-4`" in message(name, folder)
    assert "`method: command`" in message(name, folder)


def test_two_files_of_one_name_do_not_get_in_each_others_way(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    (other / "mine.py").write_text("def shrink(model, calibration):\n    return model\n")
    first, second = (resolve({"method": "mine.py:shrink"}, place, {}) for place in (folder, other))
    assert first.identity != second.identity
    assert first.steps[0].method.function.__module__ != second.steps[0].method.function.__module__


def test_a_plug_in_offers_a_function_or_a_method(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    group = "saetransfer.compressors"
    points = {name: EntryPoint(name, value, group) for name, value in PLUGINS.items()}
    monkeypatch.setattr(METHODS, "_plugins", lambda: points)
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    monkeypatch.setattr(METHODS, "_origins", dict(METHODS._origins))
    assert resolve("plugged", folder, {}).tier == "user"
    assert (
        resolve({"name": "p", "method": "offered", "bits": 3}, folder, {}).identity
        == resolve("rtn-3", folder, {}).identity
    )
    assert "must offer a function or a Method, not a str" in message("wrong", folder)
    assert "does not load" in message("broken", folder)
    lines = {line.name: line for line in listings()}
    assert lines["broken"].tier is None
    assert "does not load" in (lines["broken"].missing or "")
    assert lines["plugged"].missing is None


def test_calibration_that_is_needed_and_not_there_is_said() -> None:
    with pytest.raises(RegistryError, match="'wanda' needs calibration text"):
        compress(toy_model("llama"), resolve("wanda-50", Path(), {}), None)


def test_a_missing_library_makes_a_compressor_impossible_and_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = resolve("bnb-nf4", Path(), {})
    monkeypatch.setitem(chosen.steps[0].method.__dict__, "missing", lambda: "install it with `pip install x`")
    assert chosen.missing() == "install it with `pip install x`"
    with pytest.raises(Impossible, match="pip install x"):
        compress(toy_model("llama"), chosen, None)
