"""A real trained model: what each method costs in cross-entropy, in the order that the papers found."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from saetransfer.registry.calibration import Calibration
from tests.registry.compressors.common import compressed

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"there is no {DATA.parent.name}/{DATA.name} beside the checkout"),
]
POSITIONS = 256
CALIBRATED_ON, EVALUATED_ON = 64, 32


@cache
def model_and_windows() -> tuple[PreTrainedModel, torch.Tensor]:
    """stories260K, and windows of its kind of text in an order drawn at random."""
    folder = DATA / "models" / "stories260K"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = (DATA / "text" / "tinystories.txt").read_text(encoding="utf-8")[:400_000]
    ids = torch.tensor(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    n_windows = len(ids) // (POSITIONS - 1)
    rows = ids[: n_windows * (POSITIONS - 1)].view(n_windows, -1)
    windows = torch.cat([torch.full((n_windows, 1), tokenizer.bos_token_id), rows], dim=1)
    order = torch.randperm(n_windows, generator=torch.Generator().manual_seed(0))
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), windows[order]


@cache
def cross_entropy(card: str) -> float:
    """Nats a token of the state, on windows that it was not calibrated on."""
    model, windows = model_and_windows()
    held_out = windows[CALIBRATED_ON : CALIBRATED_ON + EVALUATED_ON]
    text = Calibration(list(windows[:CALIBRATED_ON]))
    state = compressed(model, card, text) if card != "dense" else copy.deepcopy(model)
    with torch.no_grad():
        logits = state(input_ids=held_out, use_cache=False).logits[:, :-1]
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), held_out[:, 1:].flatten()))


@pytest.mark.parametrize("sparsity", [30, 50, 60])
def test_sparsegpt_costs_less_than_wanda_and_wanda_less_than_magnitude(sparsity: int) -> None:
    costs = [cross_entropy(f"{method}-{sparsity}") for method in ("sparsegpt", "wanda", "magnitude")]
    assert cross_entropy("dense") < costs[0] < costs[1] < costs[2]


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_what_reads_calibration_text_costs_less_than_rounding_to_nearest(method: str, bits: int) -> None:
    assert cross_entropy("dense") < cross_entropy(f"{method}-{bits}") < cross_entropy(f"rtn-{bits}")


def test_fewer_bits_cost_more() -> None:
    costs = [cross_entropy(card) for card in ("rtn-5", "rtn-4", "rtn-3")]
    assert costs == sorted(costs)
    assert cross_entropy("rtn-8") == pytest.approx(cross_entropy("dense"), abs=0.01)


def test_whitening_costs_less_than_plain_truncation() -> None:
    assert cross_entropy("svd-whitened-80") < cross_entropy("svd-80")
