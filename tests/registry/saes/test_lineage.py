"""Which SAEs a cell is compared with."""

from __future__ import annotations

from pathlib import Path

from saetransfer.registry.saes import lineage
from tests.registry.saes.common import SITE, resolved, saved


def test_latents_come_from_the_frozen_sae_and_dictionaries_are_compared_with_it(tmp_path: Path) -> None:
    frozen = resolved({"name": "frozen", "source": "pretrained", "path": str(saved(tmp_path / "sae"))})
    pruned = resolved(
        {"name": "pruned", "source": "pruned", "base": "frozen", "method": "wanda", "sparsity": 0.5}, Path(), frozen
    )
    twice = resolved(
        {"name": "twice", "source": "pruned", "base": "pruned", "method": "magnitude", "sparsity": 0.5},
        Path(), frozen, pruned,
    )  # fmt: skip
    native = resolved(
        {"name": "native", "source": "trained", "like": "frozen", "on": "state", "tokens": 9000}, Path(), frozen
    )
    random = resolved({"name": "random", "source": "random", "like": "frozen"}, Path(), frozen)
    other = resolved(
        {
            "name": "other",
            "source": "trained",
            "on": "dense",
            "site": SITE,
            "d_sae": 16,
            "architecture": "topk",
            "k": 4,
            "tokens": 9000,
        }
    )
    entries = [pruned, native, frozen, random, other]

    assert [lineage.origin(entry) for entry in (frozen, pruned, twice, random, other)] == [
        frozen, frozen, frozen, random, other
    ]  # fmt: skip
    assert "trained on each state" in str(lineage.origin(native))
    assert [lineage.counterpart(entry, entries) for entry in (native, random, other)] == [frozen] * 3
    assert "are those of 'frozen', one by one" in str(lineage.counterpart(twice, entries))
    assert "the frozen SAE that the others" in str(lineage.counterpart(frozen, entries))
    assert "no frozen SAE" in str(lineage.counterpart(native, [native]))
