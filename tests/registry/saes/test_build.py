"""The one door: every source is made, costs are told, and what is missing is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sae_lens import SAE

from saetransfer.registry.errors import RegistryError
from saetransfer.registry.saes.build import describe, facts, load_folder, make, save
from tests.registry.saes.common import D_IN, D_SAE, SITE, endless, known_features, resolved, sae_of, saved
from tests.toys import toy_config

TRAINED = {"name": "new", "source": "trained", "on": "state", "like": "frozen", "tokens": 2000}


def test_every_source_is_made_saved_and_loaded(tmp_path: Path) -> None:
    frozen = resolved({"name": "frozen", "source": "pretrained", "path": str(saved(tmp_path / "frozen"))})
    built = make(frozen)
    base, x = built.sae, known_features(30)
    assert (built.cost.tokens, built.cost.steps) == (0, 0) and built.cost.seconds > 0
    assert torch.equal(base(x), sae_of("topk")(x))
    wanda = {"name": "w", "source": "pruned", "base": "frozen", "method": "wanda", "sparsity": 0.5, "tokens": 500}
    magnitude = {"name": "m", "source": "pruned", "base": "frozen", "method": "magnitude", "sparsity": 0.5}
    random = {"name": "r", "source": "random", "like": "frozen"}
    for definition, tokens, steps in ((TRAINED, 1792, 7), (wanda, 500, 0), (magnitude, 0, 0), (random, 0, 0)):
        built = make(resolved(definition, Path(), frozen), base_sae=base, activations=endless)
        assert (built.cost.tokens, built.cost.steps) == (tokens, steps)
        folder = tmp_path / definition["name"]
        save(built.sae, folder)
        assert torch.equal(load_folder(folder)(x), built.sae(x))
        assert torch.equal(SAE.load_from_disk(folder)(x), built.sae(x))


def test_activations_are_only_asked_for_where_they_are_needed(tmp_path: Path) -> None:
    frozen = resolved({"name": "frozen", "source": "pretrained", "path": str(saved(tmp_path))})

    def never() -> None:
        raise AssertionError

    make(frozen, activations=never)  # type: ignore[arg-type]
    random = resolved({"name": "r", "source": "random", "like": "frozen"}, Path(), frozen)
    make(random, base_sae=sae_of("topk"), activations=never)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"'new' \(trained\) needs activations of the state model"):
        make(resolved(TRAINED, Path(), frozen))
    with pytest.raises(TypeError, match=r"'r' \(random\) needs the SAE that it is made from"):
        make(random)


def test_weights_that_change_between_planning_and_loading_are_noticed(tmp_path: Path) -> None:
    frozen = resolved({"name": "frozen", "source": "pretrained", "path": str(saved(tmp_path))})
    save(sae_of("topk", seed=1), tmp_path)
    with pytest.raises(RegistryError, match="changed while they were in use"):
        make(frozen)


def test_a_trained_sae_says_where_it_belongs(tmp_path: Path) -> None:
    frozen = resolved({"name": "frozen", "source": "pretrained", "path": str(saved(tmp_path / "frozen"))})
    entry = resolved(TRAINED, Path(), frozen)
    metadata = describe(entry, toy_config("llama"), "toy")
    built = make(entry, activations=endless, metadata=metadata)
    save(built.sae, tmp_path / "new")
    written = load_folder(tmp_path / "new").cfg.metadata
    expected = ("toy", SITE, "model.layers.1", True, 128)
    found = (written.model_name, written.hook_name, written.hf_hook_name, written.prepend_bos, written.context_size)
    assert found == expected
    again = resolved({"name": "again", "source": "pretrained", "path": str(tmp_path / "new")})
    assert (again.site, again.prepend_bos, again.context_size) == (entry.site, True, 128)


@pytest.mark.parametrize(
    ("site", "module"),
    [
        ("blocks.1.hook_resid_post", "transformer.h.1"),
        ("blocks.1.hook_resid_pre", "transformer.h.0"),
        ("blocks.0.hook_resid_pre", None),
        ("blocks.1.hook_mlp_out", "transformer.h.1.mlp"),
        ("blocks.1.attn.hook_z", None),
    ],
)
def test_the_module_path_of_a_site_is_the_one_whose_output_it_is(site: str, module: str | None, tmp_path: Path) -> None:
    entry = resolved({"name": "f", "source": "pretrained", "path": str(saved(tmp_path)), "site": site})
    assert describe(entry, toy_config("gpt2"), "toy")["hf_hook_name"] == module


def test_facts_count_what_is_there() -> None:
    sae = sae_of("topk")
    parameters = 2 * D_IN * D_SAE + D_IN + D_SAE
    expected = {"architecture": "topk", "d_in": D_IN, "d_sae": D_SAE, "parameters": parameters}
    held = 4 * parameters
    assert facts(sae) == {
        **expected,
        "nonzero_parameters": parameters,
        "size_bytes": held,
        "smallest_bytes": held,
    }
    sae.W_enc[:, 0] = 0
    assert facts(sae)["nonzero_parameters"] == parameters - D_IN
