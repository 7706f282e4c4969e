"""The list of compressors: by tier and method, with what each method needs and whether it can run here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...registry.compressors.shelf import Listing

_TIERS = ("reference", "simulated", "structured", "kernel", "external", "user", None)


def render(listings: Iterable[Listing]) -> RenderableType:
    """All compressors; those of a method, and of the same needs, stand together."""
    groups: dict[tuple[object, ...], list[Listing]] = defaultdict(list)
    for entry in listings:
        groups[entry.method, entry.tier, entry.needs_calibration, entry.missing].append(entry)
    ordered = sorted(groups.values(), key=lambda group: _TIERS.index(group[0].tier))
    width = max(len(entry.name) for group in ordered for entry in group)
    return Group(*(part for group in ordered for part in _section(group, width)))


def _section(group: Sequence[Listing], width: int) -> Iterator[RenderableType]:
    yield _heading(group[0])
    if (missing := group[0].missing) is not None:
        yield Padding(Text(missing, style="yellow"), (0, 0, 0, 2))
    yield _rows(group, width)
    yield Text()


def _heading(entry: Listing) -> Text:
    facts = ["runs here" if entry.missing is None else "not here:"]
    if entry.tier is not None:
        facts = [entry.tier, "needs calibration" if entry.needs_calibration else "no calibration", *facts]
    return Text(entry.method, style="bold").append(f" · {' · '.join(facts)}", style="not bold")


def _rows(group: Sequence[Listing], width: int) -> RenderableType:
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(width=width)
    table.add_column()
    for entry in group:
        table.add_row(entry.name, Text(entry.summary))
    return Padding(table, (0, 0, 0, 2))
