"""The measuring pass: what lies on disk is read back to the bit, and a batch is forgotten when it is done."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch

from saetransfer.bench.measuring import batching
from saetransfer.bench.measuring.disk_array import DiskArray
from saetransfer.bench.measuring.measure import Named, Subject, measure
from saetransfer.bench.measuring.reading import read
from saetransfer.registry.sites import Site
from saetransfer.registry.windows import Windows
from saetransfer.tasks.batch import CellBatch
from saetransfer.tasks.estimate import estimate
from saetransfer.tasks.shelf import make
from tests.registry.saes.common import sae_of
from tests.toys import toy_model

SITE = Site(1, "resid_post")


def windows(n: int) -> Windows:
    generator = torch.Generator().manual_seed(3)
    lengths = torch.randint(2, 20, (n,), generator=generator).tolist()
    tokens = tuple(torch.randint(3, 96, (length,), generator=generator) for length in lengths)
    return Windows(tokens, tuple(range(n)), (0, 1, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_array_on_disk_gives_back_what_was_written(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.randn(50, 7).to(dtype)
    array = DiskArray(tmp_path / "a.bin", (50, 7), dtype, new=True)
    array.write([(20, values[20:]), (0, values[:20])])
    (tmp_path / "a.bin").rename(tmp_path / "b.bin")  # as when a reading becomes an artifact
    for found in (array, DiskArray(tmp_path / "b.bin", (50, 7), dtype)):
        out = torch.zeros(50, 7, dtype=dtype)
        found.read([(3, out[3:20]), (0, out[:3]), (20, out[20:])])
        assert torch.equal(out, values)


def test_an_array_of_another_size_is_refused(tmp_path: Path) -> None:
    DiskArray(tmp_path / "a.bin", (50, 7), torch.float32, new=True)
    with pytest.raises(OSError, match=r"a\.bin holds 1400 bytes; an array \[51, 7\] of torch\.float32 has 1428"):
        DiskArray(tmp_path / "a.bin", (51, 7), torch.float32)


def test_a_file_that_is_cut_off_meanwhile_is_told(tmp_path: Path) -> None:
    array = DiskArray(tmp_path / "a.bin", (5, 2), torch.float32, new=True)
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(EOFError, match="ends before row 5"):
        array.read([(0, torch.zeros(5, 2))])


@torch.inference_mode()
def test_batches_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the collector of cycles off, at most the cells of one batch are alive, however many batches there are."""
    monkeypatch.setattr(batching, "max_positions", lambda *_: 64)
    model, text = toy_model("gpt2"), windows(40)
    saes = {name: sae_of("jumprelu", seed=seed) for seed, name in enumerate(("frozen", "pruned"))}
    frozen = Named("frozen", saes["frozen"])
    subjects = [Subject(name, SITE, sae, SITE, origin=frozen, counterpart=frozen) for name, sae in saes.items()]
    alive: list[int] = []

    def count(_fraction: float) -> None:
        alive.append(sum(type(thing) is CellBatch for thing in gc.get_objects()))

    reading = read(model, text, [SITE], tmp_path, lambda _: None)
    gc.collect()
    gc.disable()
    try:
        measure(model, reading, None, subjects, [make("overlap"), make("perplexity")], count)
    finally:
        gc.enable()
    assert len(alive) > 4
    assert max(alive) <= len(subjects)


@torch.inference_mode()
def test_when_memory_runs_out_a_pass_begins_anew_with_half_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, text, sae = toy_model("gpt2"), windows(40), sae_of("jumprelu")
    subject = Subject("one", SITE, sae, SITE, origin="none", counterpart="none")
    tasks = [make("perplexity"), make("reconstruction")]

    def figures(folder: Path) -> dict[str, float]:
        folder.mkdir()
        reading = read(model, text, [SITE], folder, lambda _: None)
        counted = measure(model, reading, None, [subject], tasks, lambda _: None)["one"]
        found = [estimate(task.metrics, counted[task.name]) for task in tasks]
        return {name: figure.value for part in found for name, figure in part.items() if figure.value is not None}

    usual = figures(tmp_path / "usual")
    sizes: list[int] = []
    forward = model.base_model.forward

    def cramped(input_ids: torch.Tensor, **others: Any) -> Any:
        sizes.append(input_ids.numel())
        if input_ids.numel() > 100:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(input_ids=input_ids, **others)

    monkeypatch.setattr(model.base_model, "forward", cramped)
    assert figures(tmp_path / "cramped") == pytest.approx(usual, rel=1e-6, abs=1e-6)
    assert max(sizes) > 100  # it was tried
    monkeypatch.setattr(model.base_model, "forward", lambda **_: (_ for _ in ()).throw(RuntimeError("another")))
    with pytest.raises(RuntimeError, match="another"):
        figures(tmp_path / "broken")
