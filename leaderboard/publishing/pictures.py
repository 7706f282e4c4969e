"""The figures of a published board, where matplotlib is there to draw them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from ..boards.columns import Definition
from ..record import Record

FOLDER = "plots"


def pictures(records: Iterable[Record], definitions: Mapping[str, Definition]) -> dict[str, bytes]:
    """Each figure as SVG and PNG by its path within the site; none without matplotlib."""
    if find_spec("matplotlib") is None:
        return {}
    from ..plots.shelf import figures
    from ..plots.style import written

    return {
        f"{FOLDER}/{name}.{form}": written(made, form)
        for name, made in figures(records, definitions)
        for form in ("svg", "png")
    }
