"""Pooled examples are the means of what model and SAE give for each alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from saetransfer.bench.measuring import batching
from saetransfer.bench.measuring.pooling import ExampleText, ExampleTexts, Reader, pool
from saetransfer.registry.saes.decoder import decoder_rows
from saetransfer.registry.sites import Site, capture, last_hidden
from saetransfer.registry.windows import Windows
from saetransfer.tasks.examples import ExampleSet
from tests.registry.saes.common import D_SAE, sae_of
from tests.toys import toy_model

SITES = (Site(0, "mlp_out"), Site(1, "resid_post"))


def windows(n: int, seed: int) -> Windows:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 20, (n,), generator=generator).tolist()
    tokens = tuple(
        torch.cat([torch.tensor([0]), torch.randint(3, 96, (length,), generator=generator)]) for length in lengths
    )
    return Windows(tokens, tuple(range(n)), (0, 1, 2))


def texts(positions: bool = False) -> ExampleTexts:
    splits = {}
    for split, n, seed in (("train", 21, 1), ("test", 9, 2)):
        found = windows(n, seed)
        chosen = [len(tokens) - 2 for tokens in found.tokens] if positions else None
        splits[split] = ExampleText(found, {"kind": [str(i % 2) for i in range(n)]}, chosen)
    return ExampleTexts(ExampleSet("toys", ("kind",)), splits, n_left_out=3)


@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize("normalisation", ["none", "layer_norm"])
@torch.inference_mode()
def test_examples_are_pooled_each_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, positions: bool, normalisation: str
) -> None:
    monkeypatch.setattr(batching, "max_positions", lambda *_: 64)  # several batches, some of them ragged
    model = toy_model("gpt2")
    sae = sae_of("jumprelu", normalize_activations=normalisation)
    readers = [Reader(f"{site.kind}", site, sae, D_SAE) for site in SITES]
    given = texts(positions)
    found = pool(model, [given], readers, tmp_path, lambda _: None)
    for split in ("train", "test"):
        text = given.splits[split]
        for row, tokens in enumerate(text.windows.tokens):
            counted = [len(tokens) - 2] if positions else range(1, len(tokens))
            with capture(model, SITES) as captured:
                last_hidden(model, tokens[None])
            for reader in readers:
                x = captured[reader.site][0, list(counted)]
                features = sae.encode(x)
                written = features if normalisation == "none" else features * torch.as_tensor(sae.ln_std)
                examples = found[reader.name]["toys"]
                activations = getattr(examples.site, split).activations[row]
                latents = getattr(examples, split)
                torch.testing.assert_close(torch.tensor(activations), x.mean(dim=0), rtol=1e-4, atol=1e-5)
                torch.testing.assert_close(
                    torch.tensor(latents.values[row]), features.mean(dim=0), rtol=1e-4, atol=1e-5
                )
                torch.testing.assert_close(
                    torch.tensor(latents.written[row]), written.mean(dim=0), rtol=1e-4, atol=1e-5
                )
    one = found["mlp_out"]["toys"]
    assert one.site.n_left_out == 3
    assert one.site.test.labels["kind"][:3] == ["0", "1", "0"]
    assert torch.equal(torch.tensor(one.decoder), decoder_rows(sae))


@torch.inference_mode()
def test_saes_of_one_site_share_what_does_not_depend_on_them(tmp_path: Path) -> None:
    readers = [Reader(name, SITES[1], sae_of("topk", seed), D_SAE) for seed, name in enumerate("ab")]
    found = pool(toy_model("llama"), [texts()], readers, tmp_path, lambda _: None)
    assert found["a"]["toys"].site is found["b"]["toys"].site
