r"""A table for a paper: the columns of the board that hold something, as a LaTeX `tabular` with booktabs.

What it needs in the preamble is said in its first line. Everything that people have named is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ..boards.columns import COLUMNS, Definition, header
from ..boards.states import is_dense
from ..record import Record
from ..text import printable

_NAMES = ("model", "SAE", "compressor")
_LAST_PRIORITY = 3
"""Columns of the board up to this priority: a page is narrow."""
_ESCAPED = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
}
_SPECIAL = re.compile("|".join(map(re.escape, _ESCAPED)))


def render(records: Iterable[Record], definitions: Mapping[str, Definition]) -> str:
    """The table of all cells with figures."""
    known = sorted((record for record in records if record.status == "ok"), key=_order)
    columns = [one for one in COLUMNS if one.priority <= _LAST_PRIORITY and not one.is_empty(known)]
    heads = [*_NAMES, *(header(column, known, definitions) for column in columns)]
    body: list[str] = []
    for index, record in enumerate(known):
        if index and (record.labels.model, record.labels.sae) != _section(known[index - 1]):
            body.append(r"\addlinespace")
        body.append(_line([*_names(record), *(column.show(record) for column in columns)]))
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            rf"\begin{{tabular}}{{{'l' * len(_NAMES)}{'r' * len(columns)}}}",
            r"\toprule",
            _line(heads),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def escape(text: str) -> str:
    """Text that LaTeX sets as it is."""
    return _SPECIAL.sub(lambda match: _ESCAPED[match.group()], text)


def _order(record: Record) -> tuple[str, str, bool, str, str]:
    """By model and SAE; the dense state before the others."""
    return (*_section(record), not is_dense(record), record.labels.compressor, record.cell_id)


def _section(record: Record) -> tuple[str, str]:
    return record.labels.model, record.labels.sae


def _names(record: Record) -> list[str]:
    return [printable(name) for name in (record.labels.model, record.labels.sae, record.labels.compressor)]


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"
