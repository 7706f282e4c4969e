"""Which states damage the same latents: told of frozen SAEs, readable for few states and for many."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from saetransfer.leaderboard.boards import board, markdown, terminal
from saetransfer.leaderboard.boards.damage import MOST_STATES_IN_PAIRS, QUESTION, SharedDamage
from saetransfer.leaderboard.record import Labels, Record, cell_id_of
from tests.leaderboard.examples import DEFINITIONS, grid, record, spec

N_LATENTS = 2000
NAMES = ["wanda-50", "sparsegpt-50", "rtn-4", "gptq-4", "awq-4", "nf4", "lowrank"]
TASKS = {"overlap": {"version": 1, "damaged_below": 0.4}}


def drawn(seed: int, n_latents: int = N_LATENTS) -> list[int | None]:
    """r of each latent in percent, the first ones not active."""
    percents = np.random.default_rng(seed).integers(-20, 101, n_latents).tolist()
    return [None, None, *percents[2:]]


def with_percents(
    compressor: str, percents: Any, sae: str = "frozen", source: str = "trained", **fields: Any
) -> Record:
    changes = {"tasks": TASKS, **fields.pop("spec", {})}
    its_spec = spec(compressor, sae, source, **changes)
    return record(
        compressor, sae, source, gap=0.01, spec=its_spec, details={"overlap": {"r_percent": percents}}, **fields
    )


def states(n_states: int) -> list[Record]:
    return [with_percents("dense", [100] * N_LATENTS)] + [
        with_percents(f"state-{index:02}", drawn(index)) for index in range(n_states)
    ]


def shared(records: Sequence[Record]) -> SharedDamage | None:
    (model,) = board.build(records, DEFINITIONS).models
    return model.shared_damage


def rows(records: Sequence[Record]) -> list[dict[str, str]]:
    found = shared(records)
    assert found is not None
    heads = [header.text for header in found.grid.headers]
    return [dict(zip(heads, (cell.text for cell in row.cells), strict=True)) for row in found.grid.rows]


def test_states_with_the_same_damage_agree_wholly_and_independent_ones_not() -> None:
    same, apart, other = rows(
        [with_percents("a", drawn(0)), with_percents("b", drawn(0)), with_percents("c", drawn(1))]
    )
    assert (same["compressor"], same["and compressor"]) == ("a", "b")
    assert (same["Jaccard"], same["Spearman"], same["active latents"]) == ("1.00", "1.00", str(N_LATENTS - 2))
    assert same["damaged by both"] == same["by either"] == str(sum(r is not None and r < 40 for r in drawn(0)))
    for row in (apart, other):
        # Three standard deviations of the rank correlation of independent values.
        assert abs(float(row["Spearman"])) < 3 / np.sqrt(N_LATENTS)
        assert float(row["Jaccard"]) < 0.5


def test_the_threshold_is_that_of_the_records_and_is_told() -> None:
    first, second = [39, 45, 90, 10], [39, 90, 45, 80]
    (row,) = rows([with_percents("a", first), with_percents("b", second)])
    assert (row["damaged by both"], row["by either"], row["Jaccard"]) == ("1", "2", "0.50")
    found = shared([with_percents("a", first), with_percents("b", second)])
    assert found is not None
    assert "less than r = 0.4." in found.grid.explanation


def test_the_order_of_records_changes_nothing() -> None:
    few = [with_percents(name, drawn(seed, 50)) for seed, name in enumerate(NAMES[:3])]
    expected = markdown.render(few, DEFINITIONS)
    assert QUESTION in expected
    for records in itertools.permutations(few):
        assert markdown.render(records, DEFINITIONS) == expected
    many = states(MOST_STATES_IN_PAIRS + 1)
    assert markdown.render(many[::-1], DEFINITIONS) == markdown.render(many, DEFINITIONS)


@pytest.mark.parametrize("n_states", [2, MOST_STATES_IN_PAIRS, MOST_STATES_IN_PAIRS + 1, 30])
def test_a_reader_never_gets_more_rows_than_can_be_read(n_states: int) -> None:
    n_pairs = n_states * (n_states - 1) // 2
    found = rows(states(n_states))
    assert len(found) == (n_pairs if n_states <= MOST_STATES_IN_PAIRS else n_states)
    assert all(row["compressor"] != "dense" for row in found)


def test_of_many_states_each_names_its_most_alike_and_the_outlier_is_last() -> None:
    base = np.random.default_rng(0).integers(0, 101, N_LATENTS)
    noise = np.random.default_rng(1).integers(-5, 6, (7, N_LATENTS))
    alike = [with_percents(f"alike-{i}", np.clip(base + noise[i], 0, 100).tolist()) for i in range(7)]
    twin = with_percents("twin", alike[3].details["overlap"]["r_percent"])
    opposite = with_percents("opposite", (100 - base).tolist())
    found = {row["compressor"]: row for row in rows([*alike, twin, opposite])}
    assert found["twin"]["most alike"] == "alike-3"
    assert found["alike-3"]["most alike"] == "twin"
    assert (found["twin"]["Jaccard with it"], found["twin"]["Spearman with it"]) == ("1.00", "1.00")
    assert list(found)[-1] == "opposite"
    assert float(found["opposite"]["mean Spearman"]) < -0.9
    assert found["twin"]["damaged"] == str(sum(r < 40 for r in twin.details["overlap"]["r_percent"]))


def test_where_there_is_nothing_to_compare_there_is_no_section() -> None:
    nothing_known = [record("a", gap=0.1), record("b", gap=0.2)]
    one_state = [with_percents("dense", drawn(0)), with_percents("a", drawn(1))]
    random = [with_percents(name, drawn(0), sae="random", source="random") for name in "ab"]
    native = {"sae": {"name": "native", "source": "trained", "on": "state"}}
    natives = [with_percents(name, drawn(0), sae="native", spec=native) for name in "ab"]
    two_saes = [with_percents("a", drawn(0), sae="first"), with_percents("b", drawn(0), sae="second")]
    for records in (grid(), nothing_known, one_state, random, natives, two_saes):
        assert shared(records) is None
        assert QUESTION not in markdown.render(records, DEFINITIONS)
    assert QUESTION not in markdown.render([], DEFINITIONS)


def test_saes_of_one_name_that_are_not_the_same_are_not_compared() -> None:
    others = {"sae": {"name": "frozen", "source": "trained", "on": "dense", "weights": "another"}}
    assert shared([with_percents("a", drawn(0)), with_percents("b", drawn(0), spec=others)]) is None
    assert shared([with_percents("a", drawn(0)), with_percents("b", drawn(0, n_latents=60))]) is None


def test_what_is_not_defined_is_a_dash() -> None:
    (row,) = rows([with_percents("a", [100, 100, 100]), with_percents("b", [100, 99, 100])])
    assert (row["damaged by both"], row["Jaccard"], row["Spearman"]) == ("0", "–", "–")
    many = rows([with_percents(name, [100, 100, 100]) for name in NAMES])
    assert {(row["most alike"], row["mean Spearman"]) for row in many} == {("–", "–")}


@pytest.mark.parametrize("oddity", [None, 3, "many", {"a": 1}, [True, False, 1], ["x"], [[1]], [10**400], [1e9]])
def test_details_of_any_shape_do_not_stop_a_board(oddity: Any) -> None:
    odd = [with_percents(name, oddity) for name in "ab"]
    assert shared(odd) is None
    assert shared([one.model_copy(update={"details": {"overlap": oddity}}) for one in odd]) is None
    settings = {"tasks": {"overlap": {"damaged_below": oddity}}}
    assert shared([with_percents(name, drawn(0), spec=settings) for name in "ab"]) is None
    assert shared([with_percents(name, drawn(0), spec={"tasks": {"overlap": 3}}) for name in "ab"]) is None


def test_names_show_as_text() -> None:
    hostile = "<script>|`x`\n# [a](b) **c** \x1b[31m"
    records = []
    for seed in range(2):
        labels = Labels(
            suite="s", model="m", compressor=f"{hostile}{seed}", sae=hostile, sae_source="trained", text="t"
        )
        one = with_percents(str(seed), drawn(seed), labels=labels)
        records.append(one.model_copy(update={"cell_id": cell_id_of(one.spec)}))
    text = markdown.render(records, DEFINITIONS)
    section = text[text.index(QUESTION) :].split("\n\n")[2]
    assert "&lt;script&gt;\\|\\`x\\`" in section
    assert not {"<", ">", "\x1b"} & set(section)
    assert len({line.replace("\\|", "").count("|") for line in section.splitlines()}) == 1


def test_the_terminal_tells_the_extremes_in_a_sentence() -> None:
    same = [with_percents("a", drawn(0)), with_percents("b", drawn(0)), with_percents("c", drawn(1))]
    text = " ".join(shown_in_terminal(same).split())
    assert "most alike are a and b (" in text
    assert "least alike" in text
    assert QUESTION not in text
    assert "damaged by the same compressors" not in shown_in_terminal(grid())
    pair = " ".join(shown_in_terminal(same[:2]).split())
    assert "damaged by the same compressors: a and b (" in pair
    assert "least alike" not in pair


def shown_in_terminal(records: Sequence[Record]) -> str:
    stream = io.StringIO()
    terminal.show(board.build(records, DEFINITIONS), Console(file=stream, width=100, color_system=None))
    return stream.getvalue()
