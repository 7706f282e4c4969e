"""Ranks claim no more than intervals do; a front is what nothing is ahead of."""

from __future__ import annotations

import random

import pytest

from saetransfer.leaderboard.boards.cells import Cell
from saetransfer.leaderboard.boards.ranking import Point, among, front, ranked, shown_rank


def cell(value: float | None, half: float | None = None) -> Cell:
    interval = None if value is None or half is None else (value - half, value + half)
    return Cell(str(value), value=value, interval=interval)


def ranks(cells: list[Cell], higher_is_better: bool | None) -> list[str]:
    return [shown_rank(one) for one in ranked(cells, higher_is_better)]


def test_a_rank_counts_those_that_lie_wholly_above() -> None:
    cells = [cell(1.0, 0.5), cell(2.0, 0.6), cell(3.0, 0.3), cell(3.1, 0.05)]
    assert ranks(cells, higher_is_better=True) == ["3 =", "3 =", "1 =", "1 ="]
    assert ranks(cells, higher_is_better=False) == ["1 =", "1 =", "3 =", "3 ="]


def test_touching_intervals_are_not_apart() -> None:
    assert ranks([cell(1.0, 0.5), cell(2.0, 0.5)], higher_is_better=True) == ["1 =", "1 ="]


def test_figures_without_interval_are_points_and_those_without_value_do_not_compete() -> None:
    assert ranks([cell(1.0), cell(2.0), cell(None), cell(2.0)], higher_is_better=True) == ["3", "1 =", "–", "1 ="]
    assert ranks([cell(1.0), cell(2.0)], higher_is_better=None) == ["–", "–"]


def test_the_best_are_the_first_unless_all_are() -> None:
    assert [one.best for one in ranked([cell(1.0), cell(2.0), cell(2.0)], True)] == [False, True, True]
    assert not any(one.best for one in ranked([cell(1.0, 1.0), cell(1.5, 1.0)], True))
    assert not any(one.best for one in ranked([cell(1.0)], True))


def test_who_does_not_compete_takes_no_rank_away() -> None:
    cells = [cell(9.0), cell(1.0), cell(2.0)]
    assert [shown_rank(one) for one in among(cells, [False, True, True], higher_is_better=True)] == ["–", "2", "1"]


def points(states: dict[str, tuple[float, float]], half: float = 0.01) -> dict[str, Point]:
    """Size (less is better) against survival (more is better)."""
    named = [(name, cell(size), cell(survived, half), (name,)) for name, (size, survived) in states.items()]
    return {point.name: point for point in front(named, False, True)}


def test_the_front_is_what_no_other_state_is_ahead_of() -> None:
    found = points({"small": (0.2, 0.5), "middle": (0.5, 0.9), "worse": (0.6, 0.6), "large": (0.9, 0.95)})
    assert {name for name, point in found.items() if point.on_front} == {"small", "middle", "large"}
    assert found["worse"].behind == "middle"
    assert found["worse"].clearly


def test_what_is_behind_within_the_intervals_is_told_apart_from_what_is_clearly_behind() -> None:
    found = points({"a": (0.2, 0.90), "b": (0.3, 0.89)})
    assert found["b"].behind == "a"
    assert not found["b"].clearly


def test_equal_states_are_both_on_the_front() -> None:
    assert all(point.on_front for point in points({"a": (0.2, 0.9), "b": (0.2, 0.9)}).values())


def test_a_front_agrees_with_its_definition_on_any_states() -> None:
    generator = random.Random(0)
    for _ in range(50):
        states = {str(i): (generator.randint(0, 5) / 5, generator.randint(0, 5) / 5) for i in range(12)}
        for name, point in points(states).items():
            size, survived = states[name]
            ahead = [
                other
                for other, (its_size, its_survival) in states.items()
                if its_size <= size and its_survival >= survived and (its_size, its_survival) != (size, survived)
            ]
            assert point.on_front == (not ahead)
            assert point.behind in (ahead or [None])


def test_states_that_lack_a_figure_are_on_no_front() -> None:
    assert front([("a", cell(None), cell(1.0), ())], False, True) == ()


@pytest.mark.parametrize("order", [1, -1])
def test_a_front_does_not_depend_on_the_order_of_states(order: int) -> None:
    states = {"a": (0.2, 0.9), "b": (0.2, 0.9), "c": (0.3, 0.8)}
    assert points(dict(list(states.items())[::order]))["c"].behind == "b"
