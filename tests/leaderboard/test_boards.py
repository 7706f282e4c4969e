"""A board is a function of what the records say, and shows all of them for what they are."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any

import pytest

from saetransfer.leaderboard.boards import board, markdown
from saetransfer.leaderboard.boards.board import ModelBoard
from saetransfer.leaderboard.boards.cells import Grid, Row
from saetransfer.leaderboard.boards.place import begin, end
from saetransfer.leaderboard.record import Failure, Labels, Measurement, Record, cell_id_of
from tests.leaderboard.examples import DEFINITIONS, grid, record, spec

BEGIN, END = begin(markdown.BOARD), end(markdown.BOARD)
HOSTILE = "<script>alert(1)</script>|`x`\n# [a](b) **c** \x1b[31m"


def test_the_bytes_do_not_depend_on_order_time_or_machine() -> None:
    expected = markdown.render(grid(), DEFINITIONS)
    later = [one.model_copy(update={"created_at": "2031-01-01T00:00:00Z"}) for one in grid()]
    for records in itertools.permutations(later):
        assert markdown.render(records, DEFINITIONS) == expected
    assert "2031" not in expected


def test_the_section_can_be_found_and_replaced() -> None:
    for records in ([], grid()):
        text = markdown.render(records, DEFINITIONS)
        assert text.startswith(BEGIN + "\n")
        assert text.endswith("\n" + END + "\n")
        assert text.count("<!--") == 2
    assert "No records." in markdown.render([], DEFINITIONS)


def test_headings_tell_unit_and_direction() -> None:
    headers = [header.text for header in only(grid()).cells.headers]
    assert "transfer gap (nats) ↓" in headers
    assert "loss recovered ↑" in headers
    assert "L0 (latents)" in headers


def test_a_metric_without_definition_has_the_unit_of_its_record() -> None:
    (model,) = board.build(grid(), {}).models
    assert "transfer gap (nats)" in [header.text for header in model.cells.headers]


def test_every_column_shown_is_explained() -> None:
    text = markdown.render(grid(), DEFINITIONS)
    for definition in DEFINITIONS.values():
        assert definition.text in text


def test_frozen_saes_come_first_and_the_smallest_gap_leads_behind_dense() -> None:
    sections = only(grid()).cells.sections
    assert [names(rows) for rows in sections] == [["dense", "rtn-int5", "wanda-50"], ["dense", "wanda-50"]]
    assert [rows[0].cells[0].text for rows in sections] == ["frozen (trained on dense)", "random"]


def test_best_is_what_no_rival_is_wholly_better_than() -> None:
    for sections in (only(grid()).cells.sections, grid_of(only(grid()).compressors).sections):
        best = [row for rows in sections for row in rows if any(cell.best for cell in row.cells)]
        assert {cell.text for row in best for cell in row.cells if cell.best} == {"**0.0007 ± 0.0040**".strip("*")}


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
    (rows,) = only(records).cells.sections
    assert names(rows) == ["d", "c", "b", "a"]


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
    assert sorted(len(model.cells.rows) for model in built.models) == [1, 5]
    for model in built.models:
        assert any(note.startswith("Not comparable with the other tables of this model; here:") for note in model.notes)


def test_tasks_that_are_not_shown_do_not_divide() -> None:
    tasks = {"perplexity": {"version": 1}, "reconstruction": {"version": 1}, "absorption": {"version": 3}}
    other = record("rtn-int8", spec=spec("rtn-int8", tasks=tasks))
    assert len(board.build([*grid(), other], DEFINITIONS).models) == 1


def test_a_cell_that_two_suites_share_stands_once() -> None:
    copies = [record(labels=Labels(suite=name, **LABELS)) for name in ("one", "two")]
    assert len(only(copies).cells.rows) == 1


def test_cells_that_differ_but_for_their_names_are_told_apart() -> None:
    cells = [record("c", spec=spec("c", compressor=[{"ratio": ratio}]), gap=ratio) for ratio in (0.3, 0.6)]
    model = only(cells)
    (rows,) = model.cells.sections
    assert len(set(names(rows))) == 2
    assert set(names(rows)) == set(names(grid_of(model.compressors).rows))
    assert all(name.startswith("c #") for name in names(rows))


def test_several_sites_are_several_sections() -> None:
    cells = [record(spec=spec(site=f"blocks.{layer}.hook_resid_post")) for layer in (1, 2)]
    assert [rows[0].cells[0].text for rows in only(cells).cells.sections] == [
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
        (row.cells[0].text, row.cells[1].text)
        for row in only(cells).cells.rows
        if any("†" in cell.text for cell in row.cells)
    }
    assert marked == {("far (pruned)", "dense"), ("near (trained)", "wanda-50")}
    assert "- *†*: L0 differs by more than 20 %" in markdown.render(cells, DEFINITIONS)


def everywhere(name: str) -> list[Record]:
    """A name in every place where a record can hold one."""
    labels = Labels(suite=name, model=name, compressor=name, sae=name, sae_source=name, text=name)
    its_spec = spec(data={"text": name, "tokens": 1, "context": 1}, site=name)
    error = Failure(phase=name, type=name, message=name)
    environment = {"saetransfer": name, "packages": {"torch": name}, "cpu": name}
    records = [
        record(labels=labels, spec=its_spec, environment=environment, compression={"warnings": [name]}),
        record(labels=labels, spec=its_spec.model_copy(update={"compressor": [{}]}), error=error),
        record(labels=labels, spec=spec(seed=3), environment=environment),
    ]
    return [one.model_copy(update={"cell_id": cell_id_of(one.spec)}) for one in records]


@pytest.mark.parametrize("name", [HOSTILE, "../../etc/passwd", "a|b", "a\r\n| c |", "_x_ ~y~ $z$ \\"])
def test_names_show_as_text(name: str) -> None:
    text = markdown.render(everywhere(name), DEFINITIONS)
    harmless = markdown.render(everywhere("harmless"), DEFINITIONS)
    without_markers = text.replace(BEGIN, "").replace(END, "")
    assert "<" not in without_markers
    assert ">" not in without_markers
    assert "\x1b" not in text
    assert len(text.splitlines()) == len(harmless.splitlines())
    for line, expected in zip(text.splitlines(), harmless.splitlines(), strict=True):
        assert line[:2] == expected[:2]
        assert re.sub(r"\\.", "", line).count("|") == expected.count("|")


def test_a_script_is_spelled_out() -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\|\\`x\\`" in markdown.render(everywhere(HOSTILE), DEFINITIONS)


def test_open_fields_of_any_shape_do_not_stop_a_board() -> None:
    for oddity in ({}, {"bytes": 3, "sparsity": "half", "effective_bits": True}, {"bytes": {"theoretical": [1]}}):
        assert "### microworld" in markdown.render([record(compression=oddity, environment=oddity)], DEFINITIONS)
    assert "text microworld" in markdown.render([record(spec=spec(data={"text": 3}))], DEFINITIONS)


LABELS = {"model": "microworld", "compressor": "dense", "sae": "frozen", "sae_source": "trained", "text": "microworld"}


def only(records: list[Record]) -> ModelBoard:
    (model,) = board.build(records, DEFINITIONS).models
    return model


def names(rows: Iterable[Row]) -> list[str]:
    return [row.cells[1].text for row in rows]


def grid_of(grid: Grid | None) -> Grid:
    assert grid is not None
    return grid
