"""Every mistake in a suite is answered with the place and the remedy, before anything is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from saetransfer.bench.errors import UsageError
from saetransfer.bench.planning import plan, suite, yaml_file
from saetransfer.registry import hub
from tests.bench.world import write_suite

SAE = {"name": "frozen", "source": "pretrained", "path": "sae"}
TEMPLATE = {"name": "resid-{layer}", "source": "pretrained", "path": "sae", "site": "blocks.{layer}.hook_resid_post"}


def refusal(world: Path, **changes: Any) -> str:
    """What is said of the toy suite with those sections changed."""
    (world / "empty.txt").write_text("", encoding="utf-8")
    (world / "broken.jsonl").write_text("{", encoding="utf-8")
    stories = (world / "stories.txt").read_text(encoding="utf-8")
    (world / "shared.txt").write_text(f"w1 w2 w3\n\n{stories[:2000]}", encoding="utf-8")
    with pytest.raises(UsageError) as raised:
        plan.make(suite.load(str(write_suite(world, **changes))))
    return str(raised.value)


@pytest.mark.parametrize(
    ("changes", "place", "said"),
    [
        ({"compresors": []}, "(compresors)", "Did you mean 'compressors'?"),
        ({"seed": "one"}, "(seed)", "integer"),
        ({"models": []}, "(models)", "name at least one"),
        ({"compressors": "dense"}, "(compressors)", "write [dense]"),
        ({"tasks": ["perplexity", "perplexity"]}, "(tasks[1])", "there twice"),
        ({"saes": [{**SAE, "name": "a/b"}]}, "(saes[0])", "slash"),
        ({"data": {"text": "stories.txt", "tokens": True}}, "(data.tokens)", "whole number"),
        ({"data": {"text": "empty.txt", "context": 24}}, "(data.text)", "has no documents for evaluation"),
        ({"data": {"text": "broken.jsonl", "context": 24}}, "(data.text)", "no JSON"),
        ({"models": ["gpt-2"]}, "(models[0])", "Did you mean 'gpt2'?"),
        ({"models": [{"name": "toy", "path": "modle"}]}, "(models[0])", "there is no folder"),
        ({"models": [{"name": "toy", "pth": "model"}]}, "(models[0])", "Did you mean 'path'?"),
        ({"models": [3]}, "(models[0])", "a name or a mapping"),
        ({"compressors": ["dense", "wnada-50"]}, "(compressors[1])", "Did you mean 'wanda-50'?"),
        ({"compressors": ["dense", {"name": "x", "method": "rtn", "bitz": 4}]}, "(compressors[1])", "bits"),
        ({"compressors": ["dense", {"name": "x", "method": "rtn", "bits": 40}]}, "(compressors[1])", "40"),
        ({"compressors": ["dense", {"name": "x", "method": "mine.py:f"}]}, "(compressors[1])", "mine.py"),
        ({"compressors": ["wanda-50", "wanda-50"]}, "(compressors[1])", "there twice"),
        ({"saes": ["microworld-resid-2"]}, "(saes[0])", "128"),
        ({"saes": [SAE, {"name": "r", "source": "random", "like": "frozn"}]}, "(saes[1])", "Did you mean 'frozen'?"),
        ({"saes": [{"name": "s", "source": "pretrained", "path": "saes"}]}, "(saes[0])", "saes"),
        ({"saes": [{**SAE, "site": "blocks.9.hook_resid_post"}]}, "(saes[0])", "layer 9"),
        ({"saes": [{**SAE, "layers": "0-1"}]}, "(saes[0])", "put {layer} into it"),
        ({"saes": [{**SAE, "name": "s-{layer}", "layers": "2-1"}]}, "(saes[0])", "got '2-1'"),
        ({"saes": [{**SAE, "name": "s-{layer}", "layers": [0, "0-1"]}]}, "(saes[0])", "name each layer once"),
        ({"saes": [{**SAE, "name": "s-{layer}", "layers": True}]}, "(saes[0])", "numbers and ranges"),
        ({"saes": [{**SAE, "site": "blocks.{layer}.hook_mlp_out"}]}, "(saes[0])", "give `layers`, for example 0-11"),
        (
            {"saes": [SAE, {**TEMPLATE, "layers": "0-3"}]},
            "(saes[1])",
            "SAE 'resid-3': Site 'blocks.3.hook_resid_post' names layer 3",
        ),
        ({"saes": [{**SAE, "model": "other"}]}, "(saes[0].model)", "model of this suite"),
        ({"tasks": ["reconstruktion"]}, "(tasks[0])", "Did you mean 'reconstruction'?"),
        ({"data": {"text": "stories.text"}}, "(data.text)", "Unknown text"),
        ({"data": {"text": "tales.txt"}}, "(data.text)", "there is no file"),
        ({"data": {"text": "stories.txt", "token": 5}}, "(data.token)", "Did you mean 'tokens'?"),
        ({"data": {"text": "stories.txt", "context": 4096}}, "(data.context)", "which takes 64"),
        ({"data": {"tokens": 600}}, "(data.text)", "missing"),
        ({"data": {"text": "stories.txt", "calibration": {"seed": -1}}}, "(data.calibration.seed)", "greater than"),
        ({"data": {"text": "stories.txt", "calibration": {"propagation": "both"}}}, "propagation", "'dense'"),
        (
            {
                "compressors": ["wanda-50"],
                "data": {"text": "stories.txt", "context": 24, "calibration": {"text": "shared.txt"}},
            },
            "(data.calibration.text)",
            "it shares documents with the evaluation text, such as",
        ),
        (
            {
                "data": {
                    "text": "stories.txt",
                    "calibration": {"text": "stories.txt"},
                    "training": {"text": "stories.txt"},
                }
            },
            "(data.calibration.text)",
            "would be measured on what it was calibrated on",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_a_mistake_is_answered_with_file_line_place_and_remedy(
    world: Path, changes: dict[str, Any], place: str, said: str
) -> None:
    message = refusal(world, **changes)
    assert said in message
    assert place in message
    assert f"{world / 'suite.yaml'}:" in message


def test_the_line_is_that_of_the_mistake(world: Path) -> None:
    file = write_suite(world)
    text = file.read_text(encoding="utf-8").replace("magnitude-50", "magnitud-50")
    file.write_text(text, encoding="utf-8")
    line = text.splitlines().index("- magnitud-50") + 1
    with pytest.raises(UsageError) as raised:
        plan.make(suite.load(str(file)))
    assert f"suite.yaml:{line} (compressors[1])" in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "got nothing"),
        (b"- a\n- b", "got list"),
        (b"name: [", "no YAML"),
        (b"name: a\nname: b", "key 'name' stands twice"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a: !!python/object/apply:os.system ['true']", "no YAML"),
        (b"[" * 2000, "nested too deeply"),
    ],
)
def test_what_is_no_suite_is_said_to_be_none(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError) as raised:
        suite.load(str(file))
    assert said in str(raised.value)
    assert "broken.yaml" in str(raised.value)


def test_names_of_shipped_suites_are_understood_and_misspelt_ones_guessed() -> None:
    assert suite.load("demo").suite.name == "demo"
    with pytest.raises(UsageError, match="Did you mean 'demo'?"):
        suite.load("demp")
    with pytest.raises(UsageError, match="no suite file"):
        suite.load("missing/suite.yaml")


@pytest.mark.parametrize("name", list(suite.shipped()))
def test_every_shipped_suite_can_be_planned_without_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "is_reachable", lambda: False)
    planned = plan.make(suite.load(name))
    assert planned.cells
    assert planned.suite.description


@pytest.mark.parametrize(
    ("layers", "numbers"), [("0-2", [0, 1, 2]), ([0, 2], [0, 2]), (["1-2", 0], [1, 2, 0]), (1, [1])], ids=str
)
def test_one_line_stands_for_the_saes_of_many_layers(world: Path, layers: Any, numbers: list[int]) -> None:
    half = {"name": "half-{layer}", "source": "pruned", "base": "resid-{layer}", "method": "magnitude", "sparsity": 0.5}
    file = write_suite(world, saes=[{**TEMPLATE, "layers": layers}, {**half, "layers": layers}])
    found = [cell.sae for cell in plan.make(suite.load(str(file))).states[0].cells]
    assert [sae.name for sae in found] == [f"{kind}-{number}" for kind in ("resid", "half") for number in numbers]
    assert [sae.site.layer for sae in found] == [*numbers, *numbers]
    written_out = [{**TEMPLATE, "name": "x", "site": f"blocks.{numbers[0]}.hook_resid_post"}]
    alone = plan.make(suite.load(str(write_suite(world, "other.yaml", saes=written_out)))).cells[0]
    assert alone.sae.identity() == found[0].identity(), "how it is written is no part of what it is"


@pytest.mark.parametrize(
    ("scalar", "meaning"),
    [("2:4", "2:4"), ("124", 124), ("200_000", 200_000), ("-3", -3), ("0", 0), ("0x10", 16), ("010", "010")],
)
def test_a_pattern_of_n_and_m_is_no_number_in_sixties(scalar: str, meaning: object) -> None:
    assert yaml_file.parse(scalar) == meaning


def test_on_and_off_are_words_and_numbers_are_numbers(world: Path) -> None:
    file = write_suite(world)
    text = file.read_text(encoding="utf-8").replace("seed: 0", "")
    trained = "  - {name: t, source: trained, on: dense, like: frozen, lr: 1e-3, tokens: 2_000}\n"
    file.write_text(
        text.replace("data:", "data:", 1)
        .replace("saes:\n", "saes:\n")
        .replace("- name: random", trained.strip() + "\n- name: random")
    )
    entry = next(cell.sae for cell in plan.make(suite.load(str(file))).cells if cell.labels.sae == "t")
    assert (entry.on, entry.params.lr, entry.params.tokens) == ("dense", 1e-3, 2000)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.tokens", "KEY=VALUE"),
        ("data.tokenz=5", "Did you mean 'tokens'?"),
        ("saes.7.name=x", "no position in a list of 2"),
        ("seed.deep=1", "'deep' is no part of 0"),
        ("seed.deep.er=1", "nothing below 0"),
        ("data.tokens=[", "no YAML"),
    ],
)
def test_overrides_that_make_no_sense_are_refused(world: Path, override: str, said: str) -> None:
    file = write_suite(world, seed=0)
    with pytest.raises(UsageError) as raised:
        suite.load(str(file), [override])
    assert said in str(raised.value)


def test_overrides_reach_every_part(world: Path) -> None:
    file = write_suite(world)
    changed = suite.load(str(file), ["data.tokens=50", "saes.1.name=noise", "data.calibration.sequences=3"]).suite
    assert (changed.data.tokens, changed.saes[1]["name"], changed.data.calibration.sequences) == (50, "noise", 3)  # type: ignore[index]


def test_paths_set_on_a_shipped_suite_start_where_the_user_stands(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    overrides = [
        "models=[{name: toy, path: model}]",
        "saes=[{name: frozen, source: pretrained, path: sae}, {name: random, source: random, like: frozen}]",
        "data={text: {path: stories.txt}, context: 24}",
    ]
    planned = plan.make(suite.load("compressors", overrides))
    assert {cell.labels.model for cell in planned.cells} == {"toy"}
    assert {cell.labels.sae for cell in planned.cells} == {"frozen", "random"}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("models=[{name: toy, path: modle}]", "(models[0]): Model 'toy': there is no folder"),
        ("compressors.1=wnada-50", "(compressors[1]): Unknown compressor 'wnada-50'"),
        ("data.tokens=few", "(data.tokens): "),
    ],
)
def test_a_mistake_that_was_set_names_the_option_and_no_line_of_the_file(world: Path, override: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        plan.make(suite.load(str(write_suite(world)), [override]))
    assert str(raised.value).startswith(f"--set {override} {said}")


def test_other_mistakes_still_name_their_line(world: Path) -> None:
    with pytest.raises(UsageError, match=r"suite\.yaml:\d+ \(compressors\[0\]\)"):
        plan.make(suite.load(str(write_suite(world, compressors=["wnada-50", "rtn-4"])), ["compressors.1=rtn-3"]))
