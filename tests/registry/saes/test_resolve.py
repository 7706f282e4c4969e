"""What a suite may write about an SAE, what it means, and how its mistakes are answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from saetransfer.registry.errors import RegistryError
from saetransfer.registry.saes.cards import CARDS
from saetransfer.registry.saes.resolve import resolve
from saetransfer.registry.saes.trained import TrainedParams
from saetransfer.registry.sites import Site
from tests.registry.saes.common import D_IN, D_SAE, SITE, K, resolved, saved
from tests.toys import toy_config

TRAINED = {"name": "new", "source": "trained", "on": "dense", "site": SITE, "architecture": "topk", "d_sae": 64, "k": 4}


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    return saved(tmp_path / "mine")


def pretrained(path: Path, **more: Any) -> dict[str, Any]:
    return {"name": "frozen", "source": "pretrained", "path": str(path), **more}


def test_a_folder_says_everything_about_its_sae(frozen: Path) -> None:
    entry = resolved({"name": "frozen", "source": "pretrained", "path": "mine"}, frozen.parent)
    assert (entry.site, entry.d_in, entry.d_sae, entry.architecture) == (Site(1, "resid_post"), D_IN, D_SAE, "topk")
    assert (entry.prepend_bos, entry.context_size, entry.on, entry.base) == (True, 128, None, None)


def test_the_suite_may_overrule_or_supply_the_site(frozen: Path) -> None:
    assert resolved(pretrained(frozen, site="model.layers.0.mlp")).site == Site(0, "mlp_out")
    raw = json.loads((frozen / "cfg.json").read_text())
    del raw["metadata"]["hook_name"]
    (frozen / "cfg.json").write_text(json.dumps(raw))
    with pytest.raises(RegistryError, match=r"names no site \(hook_name\).*`site: blocks.1.hook_resid_post`"):
        resolved(pretrained(frozen))
    assert resolved(pretrained(frozen, site=SITE)).site == Site(1, "resid_post")


def test_identity_knows_neither_name_nor_place(frozen: Path, tmp_path: Path) -> None:
    moved = frozen.rename(tmp_path / "elsewhere")
    here = resolved(pretrained(moved))
    there = resolved({**pretrained(saved(tmp_path / "again")), "name": "other"})
    assert here.identity() == there.identity()
    assert "elsewhere" not in json.dumps(here.identity())


def test_identity_changes_with_one_weight_and_with_a_convention(frozen: Path) -> None:
    before = resolved(pretrained(frozen)).identity()
    weights = load_file(frozen / "sae_weights.safetensors")
    weights["W_dec"][3, 5] += 1e-3
    save_file(weights, frozen / "sae_weights.safetensors")
    after = resolved(pretrained(frozen)).identity()
    assert before != after
    raw = json.loads((frozen / "cfg.json").read_text())
    (frozen / "cfg.json").write_text(json.dumps({**raw, "k": K + 1}))
    assert resolved(pretrained(frozen)).identity() != after


def test_identities_of_made_saes_follow_what_they_are_made_from(frozen: Path) -> None:
    base = resolved(pretrained(frozen))
    wanda = {"name": "p", "source": "pruned", "base": "frozen", "method": "wanda", "sparsity": 0.5}
    random = {"name": "r", "source": "random", "like": "frozen"}
    every = [
        resolved(definition, Path(), base).identity()
        for definition in (
            wanda,
            {**wanda, "sparsity": 0.25},
            {**wanda, "on": "dense"},
            {**wanda, "method": "magnitude"},
            {**wanda, "method": "contribution"},
            {**wanda, "sparsity": "best"},
            {**wanda, "sparsity": "best", "tolerance": 0.1},
            {"name": "s", "source": "pruned", "base": "frozen", "method": "silent"},
            {"name": "f", "source": "finetuned", "base": "frozen"},
            {"name": "f", "source": "finetuned", "base": "frozen", "lr": 1e-4},
            {"name": "m", "source": "trained", "on": "state", "like": "frozen", "match_l0": True},
            random,
            {**random, "seed": 1},
            TRAINED,
            {**TRAINED, "seed": 1},
            {**TRAINED, "lr": "3e-4"},
            {**TRAINED, "tokens": 1000},
            {**TRAINED, "on": "state"},
        )
    ]
    texts = [json.dumps(identity, sort_keys=True, allow_nan=False) for identity in every]
    assert len(set(texts)) == len(texts)
    assert every[0] == resolved({**wanda, "name": "other", "on": "state"}, Path(), base).identity()


def test_an_sae_depends_on_the_state_where_it_or_its_base_does(frozen: Path) -> None:
    base = resolved(pretrained(frozen))
    native = resolved({**TRAINED, "name": "native", "on": "state"})
    assert not base.depends_on_state and native.depends_on_state
    magnitude = {"name": "m", "source": "pruned", "method": "magnitude", "sparsity": 0.5}
    assert not resolved({**magnitude, "base": "frozen"}, Path(), base).depends_on_state
    assert resolved({**magnitude, "base": "native"}, Path(), native).depends_on_state
    assert resolved({"name": "r", "source": "random", "like": "native"}, Path(), native).depends_on_state


def test_like_copies_everything_that_is_not_given(frozen: Path) -> None:
    base = resolved(pretrained(frozen))
    native = resolved({"name": "native", "source": "trained", "on": "state", "like": "frozen"}, Path(), base)
    assert (native.site, native.d_in, native.d_sae, native.architecture) == (base.site, D_IN, D_SAE, "topk")
    assert (native.prepend_bos, native.context_size) == (base.prepend_bos, base.context_size)
    assert isinstance(native.params, TrainedParams) and native.params.k == K
    wider = {"name": "w", "source": "trained", "on": "state", "like": "frozen", "d_sae": 128, "k": 8}
    entry = resolved(wider, Path(), base)
    assert isinstance(entry.params, TrainedParams) and (entry.d_sae, entry.params.k) == (128, 8)


def test_like_trains_what_was_trained_not_what_was_saved(tmp_path: Path) -> None:
    folder = saved(tmp_path, "jumprelu")
    raw = json.loads((folder / "cfg.json").read_text())
    raw["metadata"] |= {"training_architecture": "batchtopk", "training_architecture_details": {"k": 6}}
    (folder / "cfg.json").write_text(json.dumps(raw))
    base = resolved(pretrained(folder))
    magnitude = {"name": "p", "source": "pruned", "base": "frozen", "method": "magnitude", "sparsity": 0}
    pruned = resolved(magnitude, Path(), base)
    native = resolved({"name": "n", "source": "trained", "on": "state", "like": "p"}, Path(), base, pruned)
    assert base.architecture == "jumprelu" and native.architecture == "batchtopk"
    assert isinstance(native.params, TrainedParams) and native.params.k == 6


def test_matryoshka_is_nested_by_doubling_and_known_by_both_names() -> None:
    entry = resolved({**TRAINED, "architecture": "matryoshka"})
    assert isinstance(entry.params, TrainedParams) and entry.params.matryoshka_widths == (8, 16, 32, 64)
    assert entry.identity() == resolved({**TRAINED, "architecture": "matryoshka_batchtopk"}).identity()


def test_an_entry_says_which_text_it_reads(frozen: Path) -> None:
    base = resolved(pretrained(frozen))
    assert base.reads is None and resolved(TRAINED).reads == "training"
    assert resolved(FINETUNED, Path(), base).reads == "training"
    assert resolved(WANDA, Path(), base).reads == "calibration"
    magnitude = {**WANDA, "method": "magnitude"}
    assert resolved(magnitude, Path(), base).reads is None
    assert resolved({**magnitude, "sparsity": "best"}, Path(), base).reads == "calibration"


def test_an_sae_like_one_that_met_an_l0_is_trained_as_that_one_was(frozen: Path) -> None:
    base = resolved(pretrained(frozen))
    gated = {"name": "g", "source": "trained", "on": "state", "like": "frozen", "architecture": "gated"}
    matched = resolved({**gated, "match_l0": True}, Path(), base)
    assert matched.base == base
    again = resolved({"name": "n", "source": "trained", "on": "state", "like": "g"}, Path(), base, matched)
    assert (again.architecture, again.base) == ("gated", None)


def test_numbers_may_be_written_as_yaml_leaves_them() -> None:
    params = resolved({**TRAINED, "tokens": "200_000", "lr": "3e-4", "batch_size": 512}).params
    assert isinstance(params, TrainedParams)
    assert (params.tokens, params.lr, params.batch_size) == (200_000, 3e-4, 512)


FINETUNED = {"name": "new", "source": "finetuned", "base": "frozen"}
WANDA = {"name": "new", "source": "pruned", "base": "frozen", "method": "wanda", "sparsity": 0.5}


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        ("forzen", "Unknown SAE 'forzen'. Did you mean 'frozen'?"),
        ("microworld-resid", "Did you mean 'microworld-resid-2'?"),
        ({"name": "new"}, "SAE 'new' has no 'source'. Known: pretrained, trained, finetuned, pruned, random."),
        ({"name": "new", "source": "prunde"}, "Unknown source 'prunde'. Did you mean 'pruned'?"),
        ({"source": "random", "like": "frozen"}, "Key 'name' is missing"),
        ({"name": "new", "source": "pretrained"}, "either 'path' (a folder) or 'release' and 'id' of SAELens"),
        ({"name": "new", "source": "pretrained", "path": "a", "release": "b", "id": "c"}, "either 'path'"),
        ({"name": "new", "source": "pretrained", "release": "b"}, "either 'path'"),
        ({"name": "new", "source": "pretrained", "path": "a", "sit": SITE}, "Unknown key 'sit'. Did you mean 'site'?"),
        ({"name": "new", "source": "pretrained", "path": "nowhere"}, "There is no folder '"),
        ({**TRAINED, "k": None}, "a topk SAE needs 'k'"),
        ({**TRAINED, "site": None}, "needs site, or `like`"),
        ({**TRAINED, "site": "blocks.9.hook_resid_post"}, "names layer 9, but the model has 3 layers"),
        ({**TRAINED, "site": "blocks.1.hook_resid_pst"}, "Did you mean 'blocks.1.hook_resid_post'?"),
        ({**TRAINED, "architecture": "topkk"}, "Unknown architecture to train 'topkk'. Did you mean 'topk'?"),
        ({**TRAINED, "l1_coefficient": 1}, "'l1_coefficient' means nothing to topk; its sparsity is 'k'"),
        ({**TRAINED, "k": 65}, "'k' is 65, but there are only 64 latents"),
        ({**TRAINED, "k": 2.5}, "Key 'k'"),
        ({**TRAINED, "tokens": "many"}, "Key 'tokens'"),
        ({**TRAINED, "tokens": True}, "a number is needed, not yes or no"),
        ({**TRAINED, "tokens": 100}, "'tokens' (100) are fewer than one batch"),
        ({**TRAINED, "lr": -1}, "Key 'lr'"),
        ({**TRAINED, "on": "sparse"}, "'dense' or 'state'"),
        ({**TRAINED, "like": "nobody"}, "Unknown SAE 'nobody'"),
        ({**WANDA, "sparsity": 1}, "not including, 1 (everything) (got 1)"),
        ({**WANDA, "sparsity": -0.1}, "from 0 (nothing)"),
        ({**WANDA, "sparsity": "half"}, "Key 'sparsity': input should be a valid number"),
        ({**WANDA, "method": "wnada"}, "'wanda', 'magnitude', 'contribution', 'frequency', 'silent' or 'int8'"),
        ({**WANDA, "base": "forzen"}, "Unknown SAE 'forzen'. Did you mean 'frozen'?"),
        ({**WANDA, "method": "magnitude", "on": "dense"}, "Magnitude pruning reads no activations"),
        ({**WANDA, "method": "magnitude", "tokens": 9}, "Magnitude pruning watches no activations"),
        ({**WANDA, "method": "silent"}, "Silent has no strength: leave out 'sparsity'"),
        ({**WANDA, "method": "int8"}, "Int8 has no strength: leave out 'sparsity'"),
        ({**WANDA, "sparsity": None}, "Wanda pruning needs 'sparsity': a share from 0 up to 1, or 'best'"),
        ({**WANDA, "tolerance": 0.1}, "'tolerance' belongs to `sparsity: best`"),
        ({**FINETUNED, "base": "nobody"}, "Unknown SAE 'nobody'"),
        ({**FINETUNED, "tokens": 100}, "'tokens' (100) are fewer than one batch"),
        ({**FINETUNED, "k": 3}, "Unknown key 'k'"),
        ({**TRAINED, "k": None, "match_l0": True}, "give its name as `like`"),
        ({**TRAINED, "like": "frozen", "match_l0": True}, "finds the sparsity by itself: leave out k"),
        (
            {**TRAINED, "k": None, "like": "frozen", "match_l0": True, "site": "blocks.0.hook_mlp_out"},
            "needs an SAE of the same site, but 'frozen' reads 'blocks.1.hook_resid_post'",
        ),
        ({**TRAINED, "matryoshka_widths": [8, 64]}, "'matryoshka_widths' means nothing to topk"),
        (
            {**TRAINED, "architecture": "matryoshka", "matryoshka_widths": [32, 8]},
            "'matryoshka_widths' grow and end with all 64 latents (d_sae), got [32, 8]",
        ),
    ],
)
def test_a_mistake_is_answered_with_what_is_allowed(definition: Any, text: str, frozen: Path) -> None:
    base = resolved(pretrained(frozen))
    if isinstance(definition, dict):
        definition = {key: value for key, value in definition.items() if value is not None}
    with pytest.raises(RegistryError) as refused:
        resolved(definition, frozen.parent, base)
    assert text in str(refused.value)


def test_an_sae_of_another_width_is_refused_with_both_widths(frozen: Path) -> None:
    definition = pretrained(frozen, site="blocks.1.attn.hook_z")
    with pytest.raises(RegistryError, match=r"reads 32 channels, but 'blocks.1.attn.hook_z' of this model .* has 64"):
        resolve(definition, folder=frozen, named={}, config=toy_config("qwen3"))


def test_unknown_releases_are_answered_with_the_closest() -> None:
    with pytest.raises(RegistryError, match="Did you mean 'gpt2-small-res-jb'"):
        resolved({"name": "n", "source": "pretrained", "release": "gpt2-smal-res-jb", "id": "blocks.8.hook_resid_pre"})
    with pytest.raises(RegistryError, match="Did you mean 'blocks.8.hook_resid_pre'"):
        resolved({"name": "n", "source": "pretrained", "release": "gpt2-small-res-jb", "id": "blocks.8.hook_resid_prr"})


def test_every_card_names_a_folder_or_a_release_that_exists() -> None:
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    from saetransfer.registry import models

    directory = get_pretrained_saes_directory()
    for name in CARDS:
        card = CARDS.get(name)
        assert card.model in {"microworld", *models.cards()}, f"{name}: no model card '{card.model}'"
        if card.release is not None:
            assert card.id in directory[card.release].saes_map, f"{name}: SAELens has no '{card.id}'"


@pytest.mark.parametrize("name", ["microworld-resid-2", "microworld-mlp-2"])
def test_the_microworlds_saes_are_cards(name: str) -> None:
    from transformers import AutoConfig

    from saetransfer.registry.microworld import MODEL_FOLDER

    config = AutoConfig.from_pretrained(MODEL_FOLDER)
    entry = resolve(name, folder=Path(), named={}, config=config)
    assert (entry.name, entry.site.layer, entry.d_in) == (name, 2, config.hidden_size)
    with pytest.raises(RegistryError, match=f"The card '{name}' is an SAE of microworld"):
        resolved(name)


def test_planning_does_not_import_saelens(frozen: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from transformers import LlamaConfig\n"
        "from saetransfer.registry.saes.resolve import resolve\n"
        "config = LlamaConfig(hidden_size=32, num_hidden_layers=3, num_attention_heads=4)\n"
        f"entry = resolve({pretrained(frozen)!r}, folder=Path(), named={{}}, config=config)\n"
        "native = {'name': 'n', 'source': 'trained', 'on': 'state', 'like': 'frozen'}\n"
        "resolve(native, folder=Path(), named={'frozen': entry}, config=config).identity()\n"
        "raise SystemExit('sae_lens' in sys.modules or 'transformer_lens' in sys.modules)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_planning_leaves_the_random_state_alone(frozen: Path) -> None:
    before = torch.random.get_rng_state()
    resolved(pretrained(frozen))
    assert torch.equal(before, torch.random.get_rng_state())
