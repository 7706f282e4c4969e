"""Every state has a GPU to itself as long as there are enough; everywhere else nothing changes."""

from __future__ import annotations

import pytest
import torch

from saetransfer.bench.running.devices import lease, states_at_a_time, use


def leases(device: str, n_states: int) -> list[str]:
    taken: list[str] = []
    for _ in range(n_states):
        taken.append(lease(device, taken))
    return taken


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)


@pytest.mark.usefixtures("three_gpus")
def test_states_hold_different_gpus_until_all_are_taken_and_one_that_is_given_back_is_next() -> None:
    assert leases("cuda", 4) == ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]
    assert lease("cuda", ["cuda:0", "cuda:2"]) == "cuda:1"
    assert states_at_a_time("cuda") == 3


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_a_device_that_was_chosen_is_the_one_for_all(device: str) -> None:
    assert leases(device, 2) == [device, device]
    assert states_at_a_time(device) == 1


def test_without_a_choice_of_gpus_nothing_is_chosen() -> None:
    assert leases("cuda", 2) == ["cuda", "cuda"]
    assert states_at_a_time("cuda") == 1


def test_products_in_float32_are_computed_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    torch.set_float32_matmul_precision("high")
    use("cuda")
    assert torch.get_float32_matmul_precision() == "highest"
    assert chosen == []
    use("cuda:1")
    assert chosen == ["cuda:1"]
