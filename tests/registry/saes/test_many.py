"""Several SAEs trained in one pass: as if each were alone, and on again after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Float
from sae_lens import SAE
from torch import Tensor

from saetransfer.registry.errors import RegistryError
from saetransfer.registry.saes import trainer
from saetransfer.registry.saes.build import Built, Checkpoints, Order, make, make_many
from saetransfer.registry.saes.entry import SaeEntry
from saetransfer.registry.sites import Site
from tests.registry.saes.common import frozen_entry, known_features, resolved, sae_of

TOKENS = 3000
FIRST, SECOND = Site(0, "resid_post"), Site(1, "resid_post")
X = {FIRST: known_features(TOKENS, seed=1), SECOND: 5 * known_features(TOKENS, seed=2) + 1}


class Killed(Exception):
    """Ends a process, as far as a test can."""


def stream(
    start: int, chunk: int = 100, end: int | None = None
) -> Iterator[Mapping[Site, Float[Tensor, "token d_in"]]]:
    """The activations at both sites; killed after `end` tokens."""
    for position in range(start, TOKENS, chunk):
        if end is not None and position >= end:
            raise Killed
        yield {site: x[position : position + chunk] for site, x in X.items()}


@pytest.fixture(autouse=True)
def _small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a thousand activations are mixed more than once."""
    monkeypatch.setattr(trainer, "_BUFFER_TOKENS", 600)
    monkeypatch.setattr(trainer, "_HEAD_TOKENS", 300)


def entry(name: str, site: Site, architecture: str, **more: Any) -> SaeEntry:
    """A training of the toy."""
    definition = {"name": name, "source": "trained", "on": "dense", "site": site.name, "architecture": architecture}
    return resolved({**definition, "d_sae": 48, "tokens": TOKENS, "batch_size": 100, **more}, Path(), frozen_entry())


def orders() -> list[Order]:
    """Several sites, widths, seeds and sparsities, some of which are steered."""
    matched = {"like": "frozen", "match_l0": True}
    tuned = {"name": "f", "source": "finetuned", "base": "frozen", "tokens": 1500, "batch_size": 100}
    base = sae_of("topk")
    return [
        Order(entry("a", FIRST, "topk", k=4)),
        Order(entry("b", FIRST, "batchtopk", k=4, seed=1)),
        Order(entry("c", SECOND, "matryoshka", k=3, d_sae=64)),
        Order(entry("d", SECOND, "standard", tokens=1700)),
        Order(entry("e", SECOND, "jumprelu", **matched), base),
        Order(resolved(tuned, Path(), frozen_entry()), base),
    ]


def saes(built: list[Any]) -> list[SAE[Any]]:
    assert all(isinstance(one, Built) for one in built)
    return [one.sae for one in built]


def assert_same(one: SAE[Any], other: SAE[Any]) -> None:
    for name, weights in one.state_dict().items():
        assert torch.equal(weights, other.state_dict()[name]), name


def test_each_is_to_the_bit_what_it_is_alone() -> None:
    together = saes(make_many(orders(), stream))
    for order, sae in zip(orders(), together, strict=True):
        x = X[order.entry.site]
        assert_same(sae, make(order.entry, base_sae=order.base_sae, activations=lambda x=x: iter(x.split(333))).sae)


@pytest.mark.parametrize("end", [500, 2500])
def test_a_killed_training_goes_on_to_the_same_result(end: int, tmp_path: Path) -> None:
    expected = saes(make_many(orders(), stream))
    with pytest.raises(Killed):
        make_many(orders(), lambda start: stream(start, 500, end), checkpoints=Checkpoints(tmp_path, 0.0))
    (left,) = tmp_path.iterdir()
    assert left.name == f"at-{end}"
    opened_at: list[int] = []

    def opened(start: int) -> Any:
        opened_at.append(start)
        return stream(start, chunk=70)

    told: list[float] = []
    resumed = make_many(orders(), opened, checkpoints=Checkpoints(tmp_path), progress=told.append)
    assert opened_at == [end] and told[-1] == 1.0
    for one, other in zip(expected, saes(resumed), strict=True):
        assert_same(one, other)


def test_a_damaged_checkpoint_is_dropped_and_the_training_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        make_many(orders(), lambda start: stream(start, 500, 500), checkpoints=Checkpoints(tmp_path, 0.0))
    tensors = next(tmp_path.glob("at-500/*/*.safetensors"))
    tensors.write_bytes(tensors.read_bytes()[:-1])
    opened_at: list[int] = []

    def opened(start: int) -> Any:
        opened_at.append(start)
        return stream(start)

    made = saes(make_many(orders(), opened, checkpoints=Checkpoints(tmp_path)))
    assert opened_at == [0]
    for one, other in zip(saes(make_many(orders(), stream)), made, strict=True):
        assert_same(one, other)


def test_a_checkpoint_is_written_in_one_go_and_only_when_it_is_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_many(orders(), stream, checkpoints=Checkpoints(tmp_path / "rare"))
    assert not any((tmp_path / "rare").iterdir())

    def fail(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(trainer.Cohort, "save", fail)
        with pytest.raises(Killed):
            make_many(orders(), stream, checkpoints=Checkpoints(tmp_path, 0.0))
    opened_at: list[int] = []
    opener: Callable[[int], Any] = lambda start: (opened_at.append(start), stream(start))[1]  # noqa: E731
    make_many(orders(), opener, checkpoints=Checkpoints(tmp_path))
    assert opened_at == [0]


def test_a_checkpoint_of_other_saes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        make_many(orders()[:1], lambda start: stream(start, end=500), checkpoints=Checkpoints(tmp_path, 0.0))
    with pytest.raises(RegistryError, match="is of other SAEs than those that are to be trained"):
        make_many(orders()[1:2], stream, checkpoints=Checkpoints(tmp_path))


def test_one_that_diverges_does_not_take_the_others_along() -> None:
    good, bad = make_many([orders()[0], Order(entry("x", FIRST, "topk", k=4, lr=1e30))], stream)
    assert isinstance(good, Built)
    assert isinstance(bad, RegistryError) and "Its training diverged: lower `lr`" in str(bad)
    with pytest.raises(RegistryError, match="diverged"):
        make(entry("x", FIRST, "topk", k=4, lr=1e30), activations=lambda: iter(X[FIRST].split(100)))


def test_costs_are_those_of_each_alone() -> None:
    order = orders()[0]
    (alone,) = make_many([order], stream, forward_flops=7.0)
    assert isinstance(alone, Built)
    expected = 6 * 2 * order.entry.d_in * order.entry.d_sae * TOKENS + 7.0 * TOKENS
    assert (alone.cost.tokens, alone.cost.steps, alone.cost.flops) == (TOKENS, 30, expected)
