"""The list of compressors says for each its tier, what it needs and what is missing, in narrow terminals too."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from saetransfer.bench.commands.compressor_list import render
from saetransfer.registry.compressors.shelf import Listing, listings

REMEDY = "install it with `pip install x`"


def shown(entries: list[Listing], width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render(entries))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def entry(name: str, method: str = "m", needs: bool = False, missing: str | None = None) -> Listing:
    return Listing(name, method, "kernel", needs, f"what {name} does", missing)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_every_compressor_is_listed_once_below_its_method(width: int) -> None:
    output = shown(list(listings()), width)
    lines = output.splitlines()
    for listing in listings():
        (index,) = (i for i, line in enumerate(lines) if line.startswith(f"  {listing.name} "))
        heading = next(line for line in reversed(lines[:index]) if " · " in line and line[0] != " ")
        assert heading.startswith(f"{listing.method} · {listing.tier} · ")
        assert ("needs calibration" in heading) == listing.needs_calibration
    assert max(map(len, lines)) <= width


def test_what_is_missing_stands_with_the_remedy() -> None:
    assert f"m · kernel · no calibration · not here:\n  {REMEDY}" in shown([entry("a", missing=REMEDY)])


def test_cards_of_a_method_that_differ_in_what_they_need_stand_apart() -> None:
    output = shown([entry("a"), entry("b", needs=True), entry("c")])
    assert output.index("  a ") < output.index("  c ") < output.index("needs calibration") < output.index("  b ")


def test_a_plug_in_that_does_not_load_is_listed_with_the_reason() -> None:
    broken = Listing("odd", "odd", None, None, "plug-in that does not load", "no module [x]")
    assert "odd · not here:\n  no module [x]" in shown([broken])
