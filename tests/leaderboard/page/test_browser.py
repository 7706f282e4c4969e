"""The page in a browser: what a reader can do with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from saetransfer.leaderboard.boards import figures
from saetransfer.leaderboard.record import Failure, Labels
from tests.leaderboard.examples import grid, record
from tests.leaderboard.page.browsing import chromium, column, hovered, needs_chromium, opened, written

pytestmark = [pytest.mark.browser, needs_chromium]

HOSTILE = "<script>alert(1)</script>|"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(grid(), tmp_path_factory.mktemp("page"))


@pytest.fixture
def page(browser: Browser, board: Path) -> Iterator[Page]:
    """The page of the grid; what it loads and what it complains of is checked at the end of every test."""
    with opened(browser, board) as (opened_page, watch):
        yield opened_page
        assert watch.elsewhere() == []
        assert watch.complaints == []


def test_figures_are_sorted_and_those_without_a_value_stay_last(page: Page) -> None:
    sorter = page.locator("#table thead th", has_text="transfer gap").locator(".dt-column-order")
    sorter.click()
    expect(page.locator("#table th[aria-sort]")).to_have_attribute("aria-sort", "ascending")
    assert column(page, "transfer gap") == ["0", "0", "0.0007 ± 0.0040", "0.0312 ± 0.0040", "–", "–"]
    sorter.press("Enter")
    expect(page.locator("#table th[aria-sort]")).to_have_attribute("aria-sort", "descending")
    assert column(page, "transfer gap") == ["0.0312 ± 0.0040", "0.0007 ± 0.0040", "0", "0", "–", "–"]


def test_filters_search_and_reset(page: Page) -> None:
    assert page.locator("#count").inner_text() == "6 cells"
    page.locator("#saes summary").click()
    page.locator("#saes label", has_text="random").click()
    assert column(page, "SAE") == ["frozen (trained on dense)"] * 3
    page.locator("#compressors summary").click()
    page.locator("#compressors label", has_text="wanda-50").click()
    assert column(page, "compressor") == ["dense", "rtn-int5"]
    page.locator("#reset").click()
    page.locator("#search").fill("memory WANDA")
    assert column(page, "status") == ["failed (compress): out of memory at block 7 of…"]
    assert page.locator("#count").inner_text() == "1 of 6 cells"


def test_columns_are_chosen_and_keep_the_order_of_rows(page: Page) -> None:
    page.locator("#table thead th", has_text="transfer gap").locator(".dt-column-order").click()
    expect(page.locator("#table th[aria-sort]")).to_have_attribute("aria-sort", "ascending")
    before = column(page, "compressor")
    page.locator("#columns summary").click()
    page.locator("#columns label", has_text="loss recovered").click()
    page.keyboard.press("Escape")
    assert "0.971 ± 0.010" in column(page, "loss recovered")
    assert column(page, "compressor") == before


def test_a_point_of_a_plot_names_its_cell_and_opens_it(page: Page) -> None:
    assert "frozen (trained on dense) on dense" in hovered(page, "pareto")
    offered = page.locator("#pareto .modebar-btn").evaluate_all(
        "(all) => all.map((one) => one.dataset.attr + one.title)"
    )
    assert not [button for button in offered if "loud" in button or "hare" in button]
    page.mouse.down()
    page.mouse.up()
    assert page.locator("#cell-title").inner_text() == "frozen (trained on dense) on dense"


def test_a_cell_opens_from_the_keyboard_and_has_an_address(page: Page) -> None:
    page.locator("#table a", has_text="rtn-int5").press("Enter")
    dialog = page.locator("dialog[open]")
    assert "frozen (trained on dense) on rtn-int5" in dialog.inner_text()
    assert "-0.003300 to 0.004700" in dialog.inner_text()
    address = page.url
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    page.goto(address)
    page.locator("dialog[open]").wait_for()


def test_boards_are_sorted_and_filtered_with_the_cells(page: Page) -> None:
    board = page.locator("section.board", has_text="What each compressor costs")
    rows = board.locator("tbody tr")
    assert rows.count() == 3
    board.locator("thead th", has_text="transfer gap").locator(".dt-column-order").click()
    expect(board.locator("th[aria-sort]")).to_have_attribute("aria-sort", "ascending")
    assert "wanda-50" in rows.last.inner_text()
    page.locator("#search").fill("rtn")
    expect(rows).to_have_count(1)
    assert "rtn-int5" in rows.first.inner_text()


def test_failed_and_missing_cells_tell_their_reason(page: Page) -> None:
    assert column(page, "status")[-1] == "there is no record of this combination"
    page.locator("#table tr", has_text="out of memory").locator("a").click()
    assert "out of memory at block 7 of 12, and a long tale" in page.locator("dialog[open]").inner_text()


def test_a_definition_is_one_hover_or_one_step_of_the_keyboard_away(page: Page) -> None:
    head = page.locator("#table thead th", has_text="transfer gap")
    head.hover()
    assert page.locator("#tooltip").inner_text() == "splice increase here minus that on the dense state"
    page.keyboard.press("Escape")
    assert page.locator("#tooltip").is_hidden()
    head.locator(".dt-column-order").focus()
    assert page.locator("#tooltip").is_visible()


def test_colours_follow_the_system_until_the_reader_chooses(browser: Browser, board: Path) -> None:
    with opened(browser, board, color_scheme="dark") as (page, _):
        background = "() => getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(background)
        page.locator("#theme").click()
        assert page.evaluate(background) == "rgb(255, 255, 255)" != dark
        page.reload()
        assert page.evaluate(background) == "rgb(255, 255, 255)"


def test_text_from_records_is_text_and_nothing_else(browser: Browser, tmp_path: Path) -> None:
    names = Labels(suite=HOSTILE, model=HOSTILE, compressor=HOSTILE, sae=HOSTILE, sae_source="trained", text=HOSTILE)
    error = Failure(phase="load", type="ValueError", message=HOSTILE, traceback=HOSTILE)
    records = [record(labels=names), record("b", labels=names), record("c", labels=names, error=error)]
    with opened(browser, written(records, tmp_path)) as (page, watch):
        assert HOSTILE in page.locator("main").inner_text()
        assert HOSTILE in column(page, "compressor")[0]
        assert HOSTILE in hovered(page, "pareto")
        page.locator("#table tr", has_text="failed").locator("a").click()
        assert HOSTILE in page.locator("#cell-title").inner_text()
        assert page.locator("script").count() == 4
        assert watch.complaints == []


def test_figures_are_written_as_in_the_other_boards(browser: Browser, tmp_path: Path) -> None:
    gaps = [0.0, 1.0, -0.00004, 0.03125, 123.456, 9.9996, -2.5e-7, 1e-12]
    cells = [record(f"c{place}", gap=gap) for place, gap in enumerate(gaps)]
    with opened(browser, written(cells, tmp_path)) as (page, _):
        expected = {figures.figure(cell.metrics["perplexity.transfer_gap"]) for cell in cells}
        assert set(column(page, "transfer gap")) == expected


def test_a_board_without_records_is_a_page(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, written([], tmp_path)) as (page, watch):
        assert "No cells" in page.locator("#cells").inner_text()
        assert watch.complaints == []
