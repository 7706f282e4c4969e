"""What states took before is what a plan expects."""

from __future__ import annotations

from pathlib import Path

import pytest

from saetransfer.bench.planning import plan, suite
from saetransfer.bench.planning.grid import Plan, StatePlan
from saetransfer.bench.running import known_times
from tests.bench.world import write_suite

CACHE = Path("cache")


@pytest.fixture
def planned(world: Path) -> Plan:
    return plan.make(suite.load(str(write_suite(world))))


def took(planned: Plan, state: StatePlan, seconds: float, peak: int = 10**9, device: str = "cpu") -> None:
    time = known_times.state_time(planned, state, device, len(state.cells), seconds, peak)
    known_times.note(CACHE, time)


def expected(planned: Plan, n_cells: int, *states: StatePlan) -> known_times.Estimate | None:
    return known_times.estimate(CACHE, planned, [(state, n_cells) for state in states], "cpu")


@pytest.fixture(autouse=True)
def inside(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)


def test_nothing_is_expected_of_what_never_ran(planned: Plan) -> None:
    assert expected(planned, 2, *planned.states) is None
    took(planned, planned.states[0], 8.0, device="cuda")
    assert expected(planned, 2, *planned.states) is None


def test_a_state_takes_what_it_took_and_others_of_its_model_the_same_a_cell(planned: Plan) -> None:
    dense, other = planned.states
    took(planned, dense, 8.0)
    found = expected(planned, 1, dense, other)
    assert found is not None
    assert found.seconds == pytest.approx(4.0 + 4.0)
    took(planned, other, 20.0, peak=2 * 10**9)
    found = expected(planned, 2, dense, other)
    assert found is not None
    assert found.seconds == pytest.approx(8.0 + 20.0)
    assert found.peak_rss_bytes == 2 * 10**9
    assert found.n_unknown == 0


def test_it_goes_with_the_length_of_the_text(world: Path, planned: Plan) -> None:
    took(planned, planned.states[0], 8.0)
    longer = plan.make(suite.load(str(world / "suite.yaml"), ["data.tokens=1200"]))
    found = expected(longer, 2, longer.states[0])
    assert found is not None
    assert found.seconds == pytest.approx(16.0)


def test_a_line_that_was_cut_is_passed_over(planned: Plan) -> None:
    took(planned, planned.states[0], 8.0)
    with (CACHE / "times.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"model": "0f"\n[]\n{"model": 1}\n')
    found = expected(planned, 2, planned.states[0])
    assert found is not None
    assert found.seconds == pytest.approx(8.0)
