"""What every registered method must do, on every family of toys."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from saetransfer.registry.calibration import Calibration
from saetransfer.registry.compressors import shelf
from saetransfer.registry.compressors.method import compress, noted_warnings
from saetransfer.registry.compressors.snapshot import DenseSnapshot, rest_of
from saetransfer.registry.errors import Impossible
from saetransfer.registry.structure import name_now
from tests.registry.compressors.common import (
    FAMILIES,
    HAS_TORCHAO,
    compressed,
    compressor,
    verified,
    weights,
    wide_toy,
    with_library,
)
from tests.registry.compressors.external.common import HALVE, pruned_checkpoint
from tests.toys import toy_tokens

# Each method at one strength; a method that is registered and not named here fails `test_every_method_is_tried`.
TRIED = {
    "dense": "dense",
    "magnitude": "magnitude-50",
    "wanda": "wanda-50",
    "sparsegpt": "sparsegpt-50",
    "rtn": "rtn-4-g32",
    "gptq": "gptq-4",
    "awq": "awq-4",
    "hqq": "hqq-4",
    "codebook": "nf4-sim",
    "rounded-activations": "w8a8",
    "svd": "svd-50",
    "svd-whitened": "svd-whitened-50",
    "heads": "heads-50",
    "neurons": "neurons-50",
    "drop-blocks": "drop-1-block",
    "bnb-int8": "bnb-int8",
    "bnb-nf4": "bnb-nf4",
    "bnb-fp4": "bnb-fp4-dq",
    "torchao-int8": "torchao-int8",
    "torchao-int4": "torchao-int4",
    "torchao-intx": "torchao-intx-4-g32",
    "torchao-float8": "torchao-float8",
    "semi-structured": "semi-structured",
    "checkpoint": "checkpoint",
    "command": "command",
}
ONLY_ON_CUDA = ("torchao-int4", "semi-structured")
CHANGING = [with_library(name) for method, name in TRIED.items() if method not in ("dense", *ONLY_ON_CUDA)]

Define = Callable[..., str | dict[str, Any]]


@pytest.fixture(scope="session")
def define(tmp_path_factory: pytest.TempPathFactory) -> Define:
    """What a suite writes for a name of `CHANGING`: the two external methods need files, made once for each family."""
    folder = tmp_path_factory.mktemp("external")

    def definition(name: str, family: str, dtype: torch.dtype = torch.float32) -> str | dict[str, Any]:
        if name == "command":
            (folder / "halve.py").write_text(HALVE)
            line = [sys.executable, str(folder / "halve.py"), "{model}", "{out}"]
            return {"name": name, "method": name, "command": line}
        if name == "checkpoint":
            made = folder / f"{family}-{dtype}"
            if not made.exists():
                pruned_checkpoint(wide_toy(family, dtype), made)
            return {"name": name, "method": name, "path": str(made)}
        return name

    return definition


def test_every_method_is_tried() -> None:
    assert set(shelf.METHODS) == set(TRIED), "add the new method to TRIED in this file"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", CHANGING)
def test_a_compressor_reaches_every_matrix_and_keeps_its_promise(
    name: str, family: str, dtype: torch.dtype, define: Define
) -> None:
    model = wide_toy(family, dtype)
    before, rest = weights(model), {key: value.clone() for key, value in rest_of(model)}
    chosen = compressor(define(name, family, dtype))
    result, realised = verified(model, chosen)
    assert realised.verified
    assert realised.target_matrices == len(before)
    if chosen.tier == "structured":
        # It reaches what it takes out or makes smaller, and that is less indeed; no other matrix changes.
        assert all(matrix.changed == (matrix.removed > 0) for matrix in realised.matrices)
        assert result.num_parameters() < model.num_parameters()
    else:
        assert realised.coverage == 1.0
        assert weights(result).keys() == before.keys()
    assert (
        realised.bytes.theoretical
        < realised.bytes.dense
        == sum(p.nbytes for p in model.parameters()) + sum(b.nbytes for b in model.buffers())
    )
    rest = {name_now(result, key): value for key, value in rest.items()}
    assert all(torch.equal(value, rest[key]) for key, value in rest_of(result)), "embeddings or norms changed"
    assert all(torch.equal(value, before[key]) for key, value in weights(model).items()), "the caller's model changed"
    logits = result(input_ids=toy_tokens(), use_cache=False).logits
    assert logits.dtype == dtype
    assert not result.training


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", CHANGING)
def test_a_compressor_is_deterministic(name: str, family: str, define: Define) -> None:
    model, chosen = wide_toy(family), define(name, family)
    first, second = compressed(model, chosen), compressed(model, chosen)
    again = weights(second)
    assert all(torch.equal(value, again[key]) for key, value in weights(first).items())
    with torch.no_grad():
        assert torch.equal(first(toy_tokens()).logits, second(toy_tokens()).logits)


@pytest.mark.parametrize("name", CHANGING)
def test_a_window_of_one_token_is_enough_calibration(name: str, define: Define) -> None:
    chosen = compressor(define(name, "llama"))
    with noted_warnings():
        result = compress(wide_toy("llama"), chosen, Calibration([torch.tensor([0])]))
    assert result(toy_tokens()).logits.isfinite().all()


@pytest.mark.parametrize("name", [with_library(name) for name in ONLY_ON_CUDA])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_needs_a_gpu_says_so_on_a_cpu_and_changes_nothing(family: str, name: str) -> None:
    model = wide_toy(family, torch.bfloat16)
    before = weights(model)
    with pytest.raises(Impossible, match=r"needs a CUDA GPU of compute capability 8\.0"):
        compress(model, compressor(name), None)
    assert all(torch.equal(value, before[key]) for key, value in weights(model).items())


@pytest.mark.parametrize("family", FAMILIES)
def test_dense_changes_no_bit(family: str) -> None:
    realised = verified(wide_toy(family), compressor("dense"))[1]
    assert realised.verified
    assert (realised.coverage, realised.weight_error, realised.logit_change) == (0.0, 0.0, 0.0)
    assert realised.bytes.dense == realised.bytes.actual == realised.bytes.theoretical
    assert realised.effective_bits == 32


@pytest.mark.parametrize("card", shelf.cards().values(), ids=lambda card: card.name)
def test_every_card_resolves_and_cites_its_source(card: shelf.Card) -> None:
    chosen = card.compressor()
    assert chosen.name == card.name
    assert card.summary
    assert card.name == "dense" or (card.paper and card.citation)


@pytest.mark.parametrize("name", ["wanda-50", "bnb-nf4"])
def test_what_was_realised_is_strict_json(name: str) -> None:
    realised = verified(wide_toy("gpt2"), compressor(name))[1]
    read = json.loads(json.dumps(realised.to_json(), allow_nan=False))
    assert read["target_matrices"] == len(read["matrices"]) == 12
    assert set(read["bytes"]) == {"dense", "actual", "theoretical"}


def test_the_listing_names_every_card_and_method_and_what_is_missing() -> None:
    lines = {line.name: line for line in shelf.listings()}
    assert set(lines) == {*shelf.cards(), *shelf.METHODS}
    assert lines["wanda-50"].needs_calibration
    assert not lines["rtn-4"].needs_calibration
    assert lines["bnb-nf4"].tier == "kernel"
    elsewhere = set() if torch.cuda.is_available() else set(ONLY_ON_CUDA)
    absent = set() if HAS_TORCHAO else {name for name in lines if "torchao" in name}
    assert {name for name, line in lines.items() if line.missing is not None} == elsewhere | absent


def test_snapshot_leaves_nothing_on_disk_and_the_model_as_it_was() -> None:
    model = wide_toy("llama")
    twin = copy.deepcopy(model)
    with DenseSnapshot(model, toy_tokens()) as snapshot:
        folder = snapshot._path(0).parent
        assert all(torch.equal(dense, weights(twin)[name]) for name, dense in snapshot.matrices())
    assert not folder.exists()
