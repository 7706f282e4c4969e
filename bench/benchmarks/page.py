"""BENCHMARKS.md: sections between marks, each with the machine that it was measured on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SECTION = re.compile(r"<!-- (\w+) -->\n\n## (.+?)\n\n(.+?)\n\nMeasured on: (.+?)\n\n<!-- /\1 -->", re.DOTALL)


@dataclass(frozen=True)
class Section:
    """One section."""

    name: str
    title: str
    text: str
    machine: str


def page(sections: Iterable[Section]) -> str:
    """The whole file."""
    parts = ["# Benchmarks", "Made by `make benchmark`."]
    for one in sections:
        parts += [f"<!-- {one.name} -->", f"## {one.title}", one.text, f"Measured on: {one.machine}"]
        parts += [f"<!-- /{one.name} -->"]
    return "\n\n".join(parts) + "\n"


def sections_of(text: str) -> dict[str, Section]:
    """The sections of such a file, by name; `page` of them is the file again."""
    return {found[1]: Section(found[1], found[2], found[3], found[4]) for found in _SECTION.finditer(text)}
