"""Figures show what their interval warrants."""

from __future__ import annotations

import pytest

from saetransfer.leaderboard.boards.figures import duration, figure, number, share, size
from saetransfer.leaderboard.record import Measurement
from saetransfer.leaderboard.text import brief, printable, shortened


@pytest.mark.parametrize(
    ("value", "ci", "shown"),
    [
        (0.123456, (0.12, 0.126), "0.1235 ± 0.0030"),
        (0.123456, None, "0.1235"),
        (12.3456, (11.0, 13.0), "12.3 ± 1.0"),
        (1234567.0, (1200000.0, 1269134.0), "1234567 ± 34567"),
        (-0.00001, (-0.01, 0.01), "0.000 ± 0.010"),
        (0.0, (0.0, 0.0), "0"),
        (0.5, (0.5 - 1e-12, 0.5 + 1e-12), "0.5000"),
        (None, None, "–"),
    ],
)
def test_digits_follow_the_interval(value: float | None, ci: tuple[float, float] | None, shown: str) -> None:
    assert figure(Measurement(value=value, unit="nats", ci=ci)) == shown


def test_a_figure_that_is_not_there_is_a_dash() -> None:
    assert figure(None) == "–"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (-0.0, "0"), (1234.5678, "1235"), (0.00012345, "0.0001234"), (3.2e-9, "3.2e-09"), (-2.5, "-2.500")],
)
def test_a_figure_without_interval_has_four_digits(value: float, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("bytes_", "dense", "shown"),
    [
        (0, None, "0 B"),
        (999, None, "999 B"),
        (999_600, None, "1 MB"),
        (2_624_000, 2_624_000, "2.62 MB (100 %)"),
        (656_000, 2_624_000, "656 kB (25 %)"),
        (7.2e12, 0, "7.2 TB"),
        (2e15, None, "2000.0 TB"),
    ],
)
def test_sizes_are_readable(bytes_: float, dense: float | None, shown: str) -> None:
    assert size(bytes_, dense) == shown


def test_small_shares_keep_a_digit() -> None:
    assert [share(value) for value in (0.0, 0.0041, 0.055, 0.5)] == ["0 %", "0.41 %", "5.5 %", "50 %"]


def test_text_of_others_cannot_drive_a_terminal() -> None:
    assert printable("a\x1b[31m\nb\tc\u202e") == "a\N{REPLACEMENT CHARACTER}[31m b c\N{REPLACEMENT CHARACTER}"
    assert shortened("abcdef", 4) == "abc…"
    assert brief({"b": 1, "a": None}) == '{"a": null, "b": 1}'


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.0, "0 s"), (0.01, "under 0.1 s"), (0.34, "0.3 s"), (9.94, "9.9 s"), (9.96, "10 s"), (187.4, "187 s")],
)
def test_durations_are_none_only_where_nothing_was_done(seconds: float, written: str) -> None:
    assert duration(seconds) == written
