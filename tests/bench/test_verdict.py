"""A verdict claims what intervals carry, and nothing else."""

from __future__ import annotations

import pytest

from saetransfer.bench.commands.verdict import order, sentences
from saetransfer.leaderboard.boards.columns import GAP, INCREASE, VARIANCE
from saetransfer.leaderboard.record import Failure, Measurement, Record
from tests.leaderboard.examples import record


def figure(low: float, high: float) -> Measurement:
    return Measurement(value=(low + high) / 2, unit="nats", ci=(low, high), n=100)


def measured(name: str, increase: tuple[float, float], gap: tuple[float, float] = (0.1, 0.2)) -> Record:
    metrics = {INCREASE: figure(*increase), GAP: figure(*gap), VARIANCE: figure(0.8, 0.9)}
    return record(name, metrics=metrics)


def verdict(own: Record, *others: Record) -> str:
    return " ".join(sentences(own, [record(), *others]))


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ((2.0, 3.0), (0.0, 1.0), "more"),
        ((0.0, 1.0), (2.0, 3.0), "less"),
        ((0.0, 2.0), (1.0, 3.0), "unclear"),
        ((0.0, 1.0), (1.0, 2.0), "unclear"),
    ],
)
def test_intervals_that_touch_decide_nothing(
    ours: tuple[float, float], theirs: tuple[float, float], expected: str
) -> None:
    assert order(figure(*ours), figure(*theirs)) == expected
    assert order(figure(*ours), None) == "unclear"


def test_others_are_named_with_their_size_on_the_side_where_they_stand() -> None:
    said = verdict(
        measured("mine", (0.2, 0.3)),
        measured("strong", (0.4, 0.5)),
        measured("weak", (0.0, 0.1)),
        measured("like", (0.25, 0.5)),
    )
    assert "mine costs the model 0.250 ± 0.050 nats at 27 % of its size: " in said
    assert "less than strong (27 %); more than weak (27 %); not told apart from like (27 %)." in said


def test_others_without_figures_are_left_out() -> None:
    broken = record("broken", error=Failure(phase="compress", type="ValueError", message="no"))
    assert "broken" not in verdict(measured("mine", (0.2, 0.3)), broken)


@pytest.mark.parametrize(
    ("gap", "said"),
    [
        ((0.1, 0.2), "nats more from this model"),
        ((-0.2, -0.1), "nats less from this model"),
        ((-0.1, 0.1), "no transfer gap can be told from zero"),
    ],
)
def test_a_gap_is_only_one_when_its_interval_leaves_zero_out(gap: tuple[float, float], said: str) -> None:
    assert said in verdict(measured("mine", (0.2, 0.3), gap))


def test_what_has_no_figure_is_said_to_have_none() -> None:
    metrics = {INCREASE: Measurement(value=None, unit="nats", reason="not finite")}
    said = verdict(record("mine", metrics=metrics))
    assert "has no figure: not finite" in said
