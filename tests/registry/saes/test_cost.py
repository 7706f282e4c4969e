"""What it costs to run an SAE."""

from __future__ import annotations

import pytest

from saetransfer.registry.saes import cost
from tests.registry.saes.common import sae_of


def test_speed_is_the_median_of_the_runs_that_follow_warming_up(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([100.0, 100.0, 0.5, 0.5, 0.5, 0.5, 9.0, 9.0, 9.0])
    monkeypatch.setattr(cost, "_seconds", lambda _sae, _x: next(seconds))
    assert cost.speed(sae_of("topk"), 64) == 128.0


def test_speed_is_measured() -> None:
    assert cost.speed(sae_of("gated"), 16) > 0
