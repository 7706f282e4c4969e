"""A board is a function of what the records say, and shows all of them for what they are."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from saetransfer.leaderboard.boards import board, markdown
from saetransfer.leaderboard.boards.board import Table
from saetransfer.leaderboard.record import Failure, Labels, Measurement, Record, cell_id_of
from tests.leaderboard.examples import DEFINITIONS, grid, record, spec

HOSTILE = "<script>alert(1)</script>|`x`\n# [a](b) **c** \x1b[31m"


def test_the_bytes_do_not_depend_on_order_time_or_machine() -> None:
    expected = markdown.render(grid(), DEFINITIONS)
    later = [one.model_copy(update={"created_at": "2031-01-01T00:00:00Z"}) for one in grid()]
    for records in itertools.permutations(later):
        assert markdown.render(records, DEFINITIONS) == expected
    assert "2031" not in expected
    assert "a processor" not in expected


def test_the_section_can_be_found_and_replaced() -> None:
    for records in ([], grid()):
        text = markdown.render(records, DEFINITIONS)
        assert text.startswith(markdown.BEGIN + "\n")
        assert text.endswith("\n" + markdown.END + "\n")
        assert text.count("<!--") == 2
    assert "No records." in markdown.render([], DEFINITIONS)


def test_headings_tell_unit_and_direction() -> None:
    headers = [header.text for header in only_table(grid()).headers]
    assert "transfer gap (nats) ↓" in headers
    assert "loss recovered ↑" in headers
    assert "L0 (latents)" in headers


def test_a_metric_without_definition_has_the_unit_of_its_record() -> None:
    (table,) = board.build(grid(), {}).tables
    assert "transfer gap (nats)" in [header.text for header in table.headers]


def test_every_column_shown_is_explained() -> None:
    text = markdown.render(grid(), DEFINITIONS)
    for definition in DEFINITIONS.values():
        assert definition.text in text


def test_frozen_saes_come_first_and_the_smallest_gap_leads_behind_dense() -> None:
    table = only_table(grid())
    assert [[row[1].text for row in rows] for rows in table.sections] == [
        ["dense", "rtn-int5", "wanda-50"],
        ["dense", "wanda-50"],
    ]
    assert [rows[0][0].text for rows in table.sections] == ["frozen (trained on dense)", "random"]


def test_the_best_is_the_smallest_gap_of_a_compressed_state() -> None:
    best = [row[1].text for rows in only_table(grid()).sections for row in rows if any(cell.best for cell in row)]
    assert best == ["rtn-int5"]
    assert markdown.render(grid(), DEFINITIONS).count("**") == 2


def test_nothing_is_best_where_nothing_competes() -> None:
    assert "**" not in markdown.render(grid()[:2], DEFINITIONS)
    controls = [record(name, sae="random", source="random", gap=gap) for name, gap in (("a", 0.1), ("b", 0.2))]
    assert "**" not in markdown.render(controls, DEFINITIONS)


def test_cells_without_figures_are_shown_for_what_they_are() -> None:
    text = markdown.render(grid(), DEFINITIONS)
    assert "failed (compress): out of memory at block 7 of… |" in text
    assert "- random on wanda-50: failed (compress): out of memory at block 7 of 12, and a long tale" in text
    assert "4 ok, 1 failed, 0 skipped, 1 missing" in text
    assert "Missing from the grid: random on rtn-int5." in text


def test_skipped_and_failed_cells_stand_last() -> None:
    error = Failure(phase="load", type="Impossible", message="needs a GPU")
    records = [
        record("a", error=error),
        record("b", error=error, status="skipped"),
        record("c", gap=None),
        record("d", gap=9.0),
    ]
    (rows,) = only_table(records).sections
    assert [row[1].text for row in rows] == ["d", "c", "b", "a"]


def test_why_a_figure_is_missing_is_told() -> None:
    assert "No transfer gap for frozen on c: no dense state in the suite" in markdown.render(
        [record("c", gap=None), record("d", gap=1.0)], DEFINITIONS
    )


def test_warnings_and_doubts_about_a_compression_are_told() -> None:
    doubtful = record("c", gap=1.0, compression={"verified": False, "warnings": ["no weight | changed"]})
    text = markdown.render([doubtful], DEFINITIONS)
    assert "Warning about c: no weight \\| changed" in text
    assert "ok, compression not verified" in text


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"text": "other", "tokens": 16384, "context": 128, "hash": "00"}},
        {"data": {"text": "microworld", "tokens": 4096, "context": 128, "hash": "77aa"}},
        {"seed": 1},
        {"model": {"name": "microworld", "dtype": "float16", "weights": "0f3c"}},
        {"tasks": {"perplexity": {"version": 2}, "reconstruction": {"version": 1}}},
    ],
)
def test_cells_of_different_conditions_never_share_a_table(change: dict[str, Any]) -> None:
    other = record(spec=spec(**change))
    built = board.build([*grid(), other], DEFINITIONS)
    assert sorted(sum(map(len, table.sections)) for table in built.tables) == [1, 5]
    for table in built.tables:
        assert any(note.startswith("Not comparable with the other tables of this model; here:") for note in table.notes)


def test_tasks_that_are_not_shown_do_not_divide() -> None:
    tasks = {"perplexity": {"version": 1}, "reconstruction": {"version": 1}, "absorption": {"version": 3}}
    other = record("rtn-int8", spec=spec("rtn-int8", tasks=tasks))
    assert len(board.build([*grid(), other], DEFINITIONS).tables) == 1


def test_a_cell_that_two_suites_share_stands_once() -> None:
    copies = [record(labels=Labels(suite=name, **LABELS)) for name in ("one", "two")]
    assert sum(map(len, only_table(copies).sections)) == 1


def test_cells_that_differ_but_for_their_names_are_told_apart() -> None:
    cells = [record("c", spec=spec("c", compressor=[{"ratio": ratio}]), gap=ratio) for ratio in (0.3, 0.6)]
    (rows,) = only_table(cells).sections
    assert [row[1].text for row in rows] == [f"c #{cell.cell_id[:6]}" for cell in cells]


def test_several_sites_are_several_sections() -> None:
    cells = [record(spec=spec(site=f"blocks.{layer}.hook_resid_post")) for layer in (1, 2)]
    table = only_table(cells)
    assert [rows[0][0].text for rows in table.sections] == [
        f"frozen (trained on dense) at blocks.{layer}.hook_resid_post" for layer in (1, 2)
    ]


def test_an_sae_of_another_sparsity_is_marked() -> None:
    def l0_of(sae: str, source: str, l0: float, compressor: str = "dense") -> Record:
        its_spec = spec(compressor, sae, source, sae={"name": sae, "on": "dense" if sae == "frozen" else "state"})
        metrics = {"reconstruction.l0": Measurement(value=l0, unit="latents")}
        return record(compressor, sae, source, spec=its_spec, metrics=metrics)

    cells = [
        l0_of("frozen", "trained", 50.0),
        l0_of("near", "trained", 59.0),
        l0_of("far", "pruned", 61.0),
        # There the frozen one has another L0, so the same figure is matched.
        l0_of("frozen", "trained", 60.0, "wanda-50"),
        l0_of("far", "pruned", 61.0, "wanda-50"),
        l0_of("near", "trained", 40.0, "wanda-50"),
    ]
    marked = {
        (row[0].text, row[1].text)
        for rows in only_table(cells).sections
        for row in rows
        if any("†" in cell.text for cell in row)
    }
    assert marked == {("far (pruned)", "dense"), ("near (trained)", "wanda-50")}
    assert "- *†*: L0 differs by more than 20 %" in markdown.render(cells, DEFINITIONS)


def test_names_show_as_text() -> None:
    hostile = Labels(suite=HOSTILE, model=HOSTILE, compressor=HOSTILE, sae=HOSTILE, sae_source=HOSTILE, text=HOSTILE)
    its_spec = spec(data={"text": HOSTILE, "tokens": 1, "context": 1}, site=HOSTILE)
    error = Failure(phase=HOSTILE, type=HOSTILE, message=HOSTILE)
    environment = {"saetransfer": HOSTILE, "packages": {"torch": HOSTILE}}
    records = [
        record(labels=hostile, spec=its_spec, environment=environment, compression={"warnings": [HOSTILE]}),
        record(labels=hostile, spec=its_spec.model_copy(update={"compressor": [{}]}), error=error),
        record(labels=hostile, spec=spec(seed=3), environment=environment),
    ]
    records = [one.model_copy(update={"cell_id": cell_id_of(one.spec)}) for one in records]
    text = markdown.render(records, DEFINITIONS)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\|\\`x\\`" in text
    without_markers = text.replace(markdown.BEGIN, "").replace(markdown.END, "")
    assert "<" not in without_markers
    assert ">" not in without_markers
    assert "\x1b" not in text
    assert all(line == "" or line[0] in "<#|-tCV" for line in text.splitlines())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows[:4]}) == 1


def test_open_fields_of_any_shape_do_not_stop_a_board() -> None:
    for oddity in ({}, {"bytes": 3, "sparsity": "half", "effective_bits": True}, {"bytes": {"theoretical": [1]}}):
        assert "### microworld" in markdown.render([record(compression=oddity, environment=oddity)], DEFINITIONS)
    assert "text microworld" in markdown.render([record(spec=spec(data={"text": 3}))], DEFINITIONS)


LABELS = {"model": "microworld", "compressor": "dense", "sae": "frozen", "sae_source": "trained", "text": "microworld"}


def only_table(records: list[Record]) -> Table:
    (table,) = board.build(records, DEFINITIONS).tables
    return table
