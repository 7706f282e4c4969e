"""The page's bytes are a function of the records, and no text of theirs is more than text."""

from __future__ import annotations

import itertools
import json
import re

from saetransfer.leaderboard.page.embedding import code_in_script, json_in_script
from saetransfer.leaderboard.page.page import render
from saetransfer.leaderboard.page.payload import abridged
from saetransfer.leaderboard.record import Labels
from tests.leaderboard.examples import DEFINITIONS, grid, record

HOSTILE = "<script>alert(1)</script>|</style><!-- & \u2028 \" ' `${x}`"


def test_the_bytes_do_not_depend_on_the_order_of_records() -> None:
    expected = render(grid(), DEFINITIONS)
    for records in itertools.islice(itertools.permutations(grid()), 5, 120, 37):
        assert render(records, DEFINITIONS) == expected


def test_json_stands_in_a_script_whatever_it_holds() -> None:
    text = json_in_script({HOSTILE: [HOSTILE, None, 1.5]})
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == {HOSTILE: [HOSTILE, None, 1.5]}


def test_code_in_a_script_cannot_end_it() -> None:
    assert code_in_script('a="</SCRIPT><script><!--";b=1<c') == r'a="\x3c/SCRIPT>\x3cscript>\x3c!--";b=1<c'


def test_hostile_names_are_never_markup() -> None:
    names = Labels(suite=HOSTILE, model=HOSTILE, compressor=HOSTILE, sae=HOSTILE, sae_source=HOSTILE, text=HOSTILE)
    page = render([record(labels=names), record("b", labels=names)], DEFINITIONS)
    assert "<script>alert" not in page
    assert page.count("<script") == 4
    assert page.count("</script>") == 4


def test_every_figure_reason_and_definition_is_in_the_page() -> None:
    data = data_of(render(grid(), DEFINITIONS))
    names = [quantity["name"] for quantity in data["quantities"]]
    assert set(DEFINITIONS) <= set(names)
    cell = next(cell for cell in data["cells"] if cell["compressor"] == "wanda-50" and cell["status"] == "ok")
    place = names.index("perplexity.transfer_gap")
    assert (cell["values"][place], cell["low"][place], cell["high"][place]) == (0.0312, 0.0272, 0.0352)
    assert {cell["status"] for cell in data["cells"]} == {"ok", "failed", "missing"}


def test_long_lists_are_told_by_their_length() -> None:
    assert abridged({"a": [1, 2], "b": [list(range(100))]}) == {"a": [1, 2], "b": ["100 entries, in the record's file"]}


def data_of(page: str) -> dict:
    """What the scripts of a page read."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)
