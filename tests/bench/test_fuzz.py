"""Damaged and made-up files of every kind that a user hands over: answered in words, and nothing is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
import yaml
from hypothesis import strategies as st
from transformers import AutoConfig

from saetransfer.bench.commands import board_commands, tolerances
from saetransfer.bench.measuring.definitions import definitions
from saetransfer.bench.planning import plan, suite
from saetransfer.leaderboard import store
from saetransfer.leaderboard.boards import markdown
from saetransfer.leaderboard.record import to_json
from saetransfer.registry import hub, labelled, models, texts
from saetransfer.registry.saes import resolve
from saetransfer.registry.saes.folder import load_folder
from tests.bench.world import write_suite
from tests.fuzzing import answered, as_json, damaged, many, trees, try_cases
from tests.leaderboard.examples import record

TRAINED = {
    "name": "native", "source": "trained", "on": "state", "site": "blocks.0.hook_mlp_out", "architecture": "topk",
    "d_sae": 64, "k": 4, "tokens": 2000,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def offline() -> Iterator[None]:
    """Made-up names may look like ids of the hub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub, "is_reachable", lambda: False)
        yield


@pytest.fixture(scope="module")
def place(shared_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A world to damage; at the end nothing may lie in it that no test has put there."""
    folder = tmp_path_factory.mktemp("fuzz")
    for part in ("model", "sae"):
        shutil.copytree(shared_world / part, folder / part)
    shutil.copy(shared_world / "stories.txt", folder)
    write_suite(
        folder,
        compressors=[
            "dense",
            "wanda-50",
            {"name": "rounded", "method": "rtn", "bits": 4},
            {"name": "both", "chain": ["wanda-50", "rounded"]},
        ],
        saes=[
            {"name": "frozen", "source": "pretrained", "path": "sae"},
            TRAINED,
            {"name": "half", "source": "pruned", "base": "frozen", "method": "wanda", "sparsity": 0.5},
            {"name": "random", "source": "random", "like": "frozen"},
        ],
        tasks=["reconstruction", "perplexity", {"name": "overlap"}],
        data={"text": {"path": "stories.txt"}, "tokens": 600, "context": 24, "calibration": {"sequences": 8}},
    )
    rows = [{"text": f"w{number} w1 w2", "label": str(number % 2)} for number in range(20)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "rows.csv").write_text(
        "text,label\n" + "\n".join(f'"w1, w{n}",{n % 2}' for n in range(20)), encoding="utf-8"
    )
    pandas.DataFrame(rows).to_parquet(folder / "rows.parquet")
    (folder / "record.json").write_text(to_json(record("wanda", gap=0.1)), encoding="utf-8")
    (folder / "tolerances.yaml").write_text("perplexity.transfer_gap: 0.005\ncost.*: 20%\n", encoding="utf-8")
    before = set(folder.rglob("*"))
    yield folder
    assert set(folder.rglob("*")) == before


def tried(n: int, file: Path, strategy: st.SearchStrategy[bytes], call: Callable[[], object]) -> None:
    """Write each case over a file, see what is answered, and put back what stood there."""
    good = file.read_bytes()

    def check(content: bytes) -> None:
        file.write_bytes(content)
        answered(call)

    try:
        try_cases(n, strategy, check)
    finally:
        file.write_bytes(good)


def plan_of(place: Path) -> None:
    plan.make(suite.load(str(place / "suite.yaml")))


def as_yaml(tree: Any) -> bytes:
    return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")


@many(12, 500)
def test_suites_with_other_content(place: Path, n: int) -> None:
    file = place / "suite.yaml"
    tried(n, file, trees(yaml.safe_load(file.read_bytes())).map(as_yaml), lambda: plan_of(place))


@many(20, 300)
def test_damaged_suites(place: Path, n: int) -> None:
    file = place / "suite.yaml"
    tried(n, file, damaged(file.read_bytes()), lambda: plan_of(place))


def read_and_show(file: Path) -> None:
    board_commands.show(file)
    markdown.render([store.read(file), record()], definitions())


@many(6, 300)
def test_records_with_other_content(place: Path, n: int) -> None:
    file = place / "record.json"
    tried(n, file, trees(json.loads(file.read_bytes())).map(as_json), lambda: read_and_show(file))


@many(20, 200)
def test_damaged_records(place: Path, n: int) -> None:
    file = place / "record.json"
    tried(n, file, damaged(file.read_bytes()), lambda: read_and_show(file))


def sae_of(place: Path) -> None:
    config = AutoConfig.from_pretrained(place / "model")
    definition = {"name": "frozen", "source": "pretrained", "path": "sae"}
    resolve.resolve(definition, folder=place, named={}, config=config)
    load_folder(place / "sae")


@many(20, 200)
def test_descriptions_of_saes(place: Path, n: int) -> None:
    file = place / "sae" / "cfg.json"
    good = file.read_bytes()
    tried(n, file, trees(json.loads(good)).map(as_json) | damaged(good), lambda: sae_of(place))


@many(20, 200)
def test_weights_of_saes(place: Path, n: int) -> None:
    file = place / "sae" / "sae_weights.safetensors"
    good = file.read_bytes()
    header = damaged(good[:600]).map(lambda head: head + good[600:])
    tried(n, file, header | damaged(good), lambda: sae_of(place))


def model_of(place: Path) -> None:
    models.load_tokenizer(models.resolve({"name": "toy", "path": "model"}, place))


@many(8, 100)
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_models(place: Path, name: str, n: int) -> None:
    file = place / "model" / name
    good = file.read_bytes()
    tried(n, file, trees(json.loads(good)).map(as_json) | damaged(good), lambda: model_of(place))


@many(15, 100)
@pytest.mark.parametrize("name", ["stories.txt", "rows.jsonl", "rows.parquet"])
def test_texts(place: Path, name: str, n: int) -> None:
    file = place / name
    good = file.read_bytes() if name == "rows.parquet" else file.read_bytes()[:2000]
    tried(n, file, damaged(good), lambda: texts.check(texts.resolve({"path": name}, place, divided=True), "evaluation"))


@many(15, 100)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_labels(place: Path, name: str, n: int) -> None:
    file = place / name
    tried(n, file, damaged(file.read_bytes()), lambda: labelled.check(labelled.resolve({"path": name}, folder=place)))


@many(8, 100)
def test_tolerances(place: Path, n: int) -> None:
    file = place / "tolerances.yaml"
    good = file.read_bytes()
    strategy = trees(yaml.safe_load(good)).map(as_yaml) | damaged(good)
    tried(n, file, strategy, lambda: tolerances.read(file, [], list(definitions())))
