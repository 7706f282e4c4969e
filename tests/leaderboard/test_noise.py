"""How noisy figures are is told from the halves of the text that records hold, and only from them."""

from __future__ import annotations

import itertools

from saetransfer.leaderboard.boards import markdown
from saetransfer.leaderboard.boards.noise import NOISE, noise
from saetransfer.leaderboard.record import Measurement, Record
from tests.leaderboard.examples import DEFINITIONS, grid, record


def with_halves(compressor: str, halves: tuple[float, float], sae: str = "frozen", source: str = "trained") -> Record:
    gap = Measurement(value=0.1, unit="nats", halves=halves)
    return record(compressor, sae, source, gap=0.1).model_copy(update={"metrics": {"perplexity.transfer_gap": gap}})


def test_without_halves_nothing_is_told() -> None:
    assert noise(grid()) == []
    assert noise([]) == []
    assert NOISE not in markdown.render(grid(), DEFINITIONS)


def test_the_largest_distance_is_told_of_dense_and_of_compressed_states() -> None:
    records = [with_halves("dense", (0.0, 0.0)), with_halves("a", (0.1, 0.125)), with_halves("b", (0.3, 0.2996))]
    (sentence,) = noise(records)
    assert "transfer gap 0 on dense, up to 0.025 on compressed states." in sentence
    for shuffled in itertools.permutations(records):
        assert noise(shuffled) == [sentence]
    assert noise(records[1:]) == [sentence.replace(" 0 on dense,", "")]


def test_a_random_sae_says_nothing_about_the_noise_of_real_ones() -> None:
    control = with_halves("a", (0.0, 5.0), "random", "random")
    assert noise([control]) == []
    real = with_halves("a", (0.1, 0.125))
    assert noise([real, control]) == noise([real])


def test_what_the_note_means_is_told_once() -> None:
    text = markdown.render([with_halves("dense", (0.0, 0.0)), with_halves("a", (0.1, 0.125))], DEFINITIONS)
    assert f"- {NOISE}, from one half of the text to the other: transfer gap" in text
    assert text.count(f"- *{NOISE}*: ") == 1
