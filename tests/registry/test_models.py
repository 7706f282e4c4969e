"""Models of the hub where there is none: planned from what cards state, which is checked against the real thing."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import PretrainedConfig

from saetransfer.registry import hub, models
from saetransfer.registry.errors import RegistryError
from saetransfer.registry.facts import Facts, facts_of
from saetransfer.registry.families import family_of
from tests.toys import MODEL_TYPES, toy_config, toy_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def definition(facts: Facts | None, revision: str = COMMIT) -> dict[str, Any]:
    stated = {} if facts is None else {"facts": facts.model_dump()}
    return {"name": "toy", "hub": "nobody/toy", "revision": revision, **stated}


@pytest.fixture
def nothing_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that cannot be reached, and no copy of anything of it."""

    def absent(*_args: Any, **_kwargs: Any) -> None:
        raise OSError("no connection, no copy") from LocalEntryNotFoundError("nothing there")

    monkeypatch.setattr(models.AutoConfig, "from_pretrained", absent)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> PretrainedConfig:
    """The configuration that the hub has of any model."""
    config = toy_config("gpt2")
    config._commit_hash = "f" * 40
    monkeypatch.setattr(models.AutoConfig, "from_pretrained", lambda *_args, **_kwargs: config)
    return config


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_facts_are_all_that_planning_asks_of_a_configuration(model_type: str) -> None:
    real = toy_config(model_type)
    stated = facts_of(real)
    assert facts_of(stated.config()) == stated
    assert family_of(stated.config()) == family_of(real)


@pytest.mark.parametrize("name", models.cards())
@pytest.mark.usefixtures("nothing_cached")
def test_every_card_is_enough_to_plan_with(name: str) -> None:
    card = models.cards()[name]
    found = models.resolve(name, Path())
    assert facts_of(found.config) == card.facts
    assert hub.is_commit(card.revision), "what a tag or branch names may change under its cell ids"
    assert found.identity == {"hub": card.hub, "revision": card.revision, "dtype": card.dtype}


def test_a_model_is_the_same_whether_its_hub_was_reached_or_not(
    published: PretrainedConfig, request: pytest.FixtureRequest
) -> None:
    stated = definition(facts_of(published))
    reached = models.resolve(stated, Path())
    request.getfixturevalue("nothing_cached")
    assert models.resolve(stated, Path()).identity == reached.identity


def test_a_branch_is_pinned_where_the_hub_tells_its_commit(published: PretrainedConfig) -> None:
    assert models.resolve(definition(None, "main"), Path()).identity["revision"] == "f" * 40
    assert models.resolve(definition(None), Path()).identity["revision"] == COMMIT


def test_a_card_that_is_wrong_is_refused_with_every_difference(published: PretrainedConfig) -> None:
    stated = facts_of(published).model_copy(update={"layers": 12, "head_dim": 64})
    with pytest.raises(RegistryError, match=r"planned with layers 12 \(it is 3\), head_dim 64 \(it is 8\)") as refused:
        models.resolve(definition(stated), Path())
    assert "registry/models.yaml" in str(refused.value)


def test_what_was_planned_is_checked_again_when_the_weights_come(tmp_path: Path) -> None:
    toy_model("gpt2").save_pretrained(tmp_path)
    planned = facts_of(toy_config("gpt2")).model_copy(update={"layers": 2}).config()
    model = models.Model("toy", str(tmp_path), None, "float32", False, planned, {}, None)
    with pytest.raises(RegistryError, match=r"layers 2 \(it is 3\)"):
        models.load(model)
    config = toy_config("gpt2")
    assert (
        models.load(models.Model("toy", str(tmp_path), None, "float32", False, config, {}, None)).dtype == torch.float32
    )


@pytest.mark.usefixtures("nothing_cached")
def test_without_facts_there_is_nothing_to_plan_with() -> None:
    with pytest.raises(RegistryError, match="Model 'toy': no configuration from nobody/toy: no connection"):
        models.resolve(definition(None), Path())


def test_another_reason_than_the_network_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def gated(*_args: Any, **_kwargs: Any) -> None:
        raise OSError("You are trying to access a gated repo.")

    monkeypatch.setattr(models.AutoConfig, "from_pretrained", gated)
    with pytest.raises(RegistryError, match="gated repo"):
        models.resolve(definition(facts_of(toy_config("gpt2"))), Path())


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A network that refuses; gives the hosts that were asked for."""
    asked: list[str] = []

    def refuse(address: tuple[str, int], **_: Any) -> None:
        asked.append(address[0])
        raise OSError("unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.is_reachable.cache_clear()
    return asked


def test_a_hub_that_does_not_answer_is_asked_once(no_network: list[str], tmp_path: Path) -> None:
    for _ in range(3):
        with hub.asking(), pytest.raises(LocalEntryNotFoundError) as away:
            hf_hub_download("nobody/toy", "config.json", cache_dir=tmp_path)
        assert hub.is_away(away.value)
    assert no_network == ["huggingface.co"]
    assert constants.HF_HUB_OFFLINE is False
    hub.is_reachable.cache_clear()


def test_a_proxy_is_left_to_answer_for_itself(no_network: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "getproxies", lambda: {"https": "http://proxy:3128"})
    assert hub.is_reachable()
    assert no_network == []
    hub.is_reachable.cache_clear()
