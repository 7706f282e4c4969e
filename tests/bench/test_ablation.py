"""Ablations that depend on the position alone, against splicing them into every window."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from saetransfer.bench.measuring.ablation import Ablations, ByPosition
from saetransfer.bench.measuring.reading import Reading, read
from saetransfer.registry.sites import Site, last_hidden_spliced
from saetransfer.registry.windows import Windows
from tests.toys import MODEL_TYPES, VOCABULARY, toy_model

SPECIAL = (0, 1, 2)
LENGTHS = (7, 19, 12, 1, 19)


def windows(first: list[int | None], inner: int | None = None) -> Windows:
    """Windows of random text, each behind a special token or none; the third has another one within."""
    generator = torch.Generator().manual_seed(0)
    tokens = [torch.randint(3, VOCABULARY, (length,), generator=generator) for length in LENGTHS]
    for window, token in zip(tokens, first, strict=True):
        if token is not None:
            window[0] = token
    if inner is not None:
        tokens[2][5] = inner
    return Windows(tuple(tokens), tuple(range(len(tokens))), SPECIAL)


WITH_BOS = windows([0] * 5)
WITHOUT = windows([None] * 5)


def reading_of(family: str, text: Windows, site: Site, folder: Path) -> tuple[Ablations, Reading]:
    model = toy_model(family)
    reading = read(model, text, [site], folder, lambda _: None)
    return Ablations(model, reading, site), reading


@torch.inference_mode()
def assert_spliced_into_every_window(
    family: str, reading: Reading, site: Site, found: ByPosition | None, zeros: bool
) -> None:
    assert found is not None
    model = toy_model(family)
    for batch in reading.windows.batches(max_positions=40):
        own = reading.rows(site.name, batch)
        kept = own if not zeros else torch.zeros_like(own)
        spliced = torch.where(batch.valid[..., None], torch.zeros_like(own) if zeros else reading.means[site], kept)
        expected = last_hidden_spliced(model, batch.tokens, site, spliced, own)
        for row, window in enumerate(batch.valid):
            for position in window.nonzero().flatten().tolist():
                assert torch.allclose(found[position], expected[row, position], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", MODEL_TYPES)
@pytest.mark.parametrize("site", [Site(0, "resid_post"), Site(1, "resid_pre")])
def test_one_window_tells_of_all(family: str, site: Site, tmp_path: Path) -> None:
    with torch.inference_mode():
        ablations, reading = reading_of(family, WITH_BOS, site, tmp_path)
        assert_spliced_into_every_window(family, reading, site, ablations.zero, zeros=True)
        assert_spliced_into_every_window(family, reading, site, ablations.mean, zeros=False)


@torch.inference_mode()
def test_without_bos_all_is_text(tmp_path: Path) -> None:
    site = Site(1, "resid_post")
    ablations, reading = reading_of("llama", WITHOUT, site, tmp_path)
    assert_spliced_into_every_window("llama", reading, site, ablations.mean, zeros=False)


@pytest.mark.parametrize("text", [windows([0, 1, 0, 0, 0]), windows([0, None, 0, 0, 0]), windows([0] * 5, inner=1)])
@torch.inference_mode()
def test_where_other_special_tokens_stand_windows_differ(text: Windows, tmp_path: Path) -> None:
    ablations, _ = reading_of("llama", text, Site(1, "resid_post"), tmp_path)
    assert ablations.mean is None
    assert ablations.zero is not None


@pytest.mark.parametrize("kind", ["mlp_out", "attn_z"])
@torch.inference_mode()
def test_within_a_block_windows_differ(kind: str, tmp_path: Path) -> None:
    ablations, _ = reading_of("llama", WITH_BOS, Site(1, kind), tmp_path)  # type: ignore[arg-type]
    assert ablations.zero is None
    assert ablations.mean is None
