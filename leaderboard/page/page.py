"""Building the page: the board and the cells of some records in one HTML file.

The file holds everything that it shows: data, styles, scripts and libraries. A content security policy forbids it to
fetch anything. The same records give the same bytes, for the same versions of the libraries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..boards.board import Board, build, distinct
from ..boards.columns import TASKS, Definition
from ..boards.groups import comparable
from ..record import Record
from . import libraries
from .embedding import code_in_script, json_in_script
from .payload import payload

_FOLDER = Path(__file__).parent / "templates"
_SCRIPTS = (
    "data.js",
    "elements.js",
    "tooltips.js",
    "theme.js",
    "filters.js",
    "table.js",
    "boards.js",
    "plots.js",
    "cell.js",
    "main.js",
)
"""In the order in which they stand in the page: they are one module."""


def render(records: Iterable[Record], definitions: Mapping[str, Definition]) -> str:
    """The page of some records.

    Args:
        records: in any order, of any number of models and suites.
        definitions: unit, direction and meaning of metrics by their name in records.
    """
    cells = distinct(records)
    board = build(cells, definitions)
    return _html(board, payload(comparable(cells, TASKS), board.models, definitions))


def _html(board: Board, data: Mapping[str, object]) -> str:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    plotly, datatables = libraries.plotly(), libraries.datatables()
    return environment.get_template("page.html").render(
        board=board,
        libraries=(plotly, datatables),
        data=json_in_script(data),
        plotly=code_in_script(plotly.code),
        datatables=code_in_script(datatables.code),
        styles=code_in_script((_FOLDER / "style.css").read_text(encoding="utf-8")),
        scripts=code_in_script(scripts),
    )
