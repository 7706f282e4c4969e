"""What is free is given back now and then, and not more often than that."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from saetransfer.bench.running import memory
from saetransfer.bench.running.memory import Sweeper


def test_a_sweeper_gives_back_at_most_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now, given_back = [100.0], []
    monkeypatch.setattr(memory, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(memory, "give_back", lambda: given_back.append(now[0]))
    sweeper = Sweeper()
    for moment in (100.0, 100.2, 100.3, 100.5, 100.6):
        now[0] = moment
        sweeper.sweep()
    assert given_back == [100.3, 100.6]
