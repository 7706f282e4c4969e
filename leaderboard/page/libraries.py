"""The JavaScript libraries of the page, taken out of installed Python packages when a page is built.

- plotly.js (MIT), as the package `plotly` ships it: the plots.
- DataTables (MIT) with jQuery (MIT), as the package `itables` ships them: sorting, searching and paging.

Their licence notes stand within their texts and go into the page with them.
"""

from __future__ import annotations

from importlib import metadata, util
from pathlib import Path
from typing import NamedTuple


class Library(NamedTuple):
    """The text of a library."""

    package: str
    version: str
    """Of the package: the bytes of a page depend on it."""
    code: str


def plotly() -> Library:
    """A script that defines `Plotly`."""
    return _from_package("plotly", "package_data/plotly.min.js")


def datatables() -> Library:
    """A module that exports `jQuery`, which has `jQuery.fn.dataTable`."""
    return _from_package("itables", "html/dt_bundle.js")


def _from_package(package: str, path: str) -> Library:
    # Found and not imported: both packages import a lot that a page has no use for.
    spec = util.find_spec(package)
    folders = (spec.submodule_search_locations or []) if spec is not None else []
    for folder in folders:
        file = Path(folder) / path
        if file.is_file():
            return Library(package, metadata.version(package), file.read_text(encoding="utf-8"))
    raise FileNotFoundError(
        f"the package '{package}' with its file {path} is needed for the page; install the version that saetransfer "
        f"asks for: pip install --force-reinstall {package}"
    )
