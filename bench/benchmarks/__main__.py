"""`make benchmark`: measure, and write BENCHMARKS.md.

    python -m saetransfer.bench.benchmarks [--out BENCHMARKS.md] [--only SECTION]

With `--only`, the other sections of the file stay as they are; those that are written by hand always do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..errors import UsageError
from ..running import environment
from . import compressing, demo, html_page, large_plan, memory, on_ray, records, saes, speed, tasks
from .page import Section, page, sections_of

SECTIONS: dict[str, tuple[str, Callable[[], str]]] = {
    "speed": ("Against SAELens, and against the floor", speed.section),
    "memory": ("Peak memory of a state", memory.section),
    "demo": ("The demo", demo.section),
    "tasks": ("What all tasks cost beside reconstruction and perplexity", tasks.section),
    "saes": ("What SAEs cost", saes.section),
    "compressing": ("What compressing costs", compressing.section),
    "plan": ("The plan of 100,000 cells", large_plan.section),
    "ray": ("Two nodes of a Ray cluster against one", on_ray.section),
    "records": ("Reading 10,000 records", records.section),
    "page": ("The HTML page of 5,000 cells", html_page.section),
}
"""Name -> title, and what measures it."""


def main(
    out: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("BENCHMARKS.md"),
    only: Annotated[str | None, typer.Option(help="Measure this section alone.")] = None,
) -> None:
    """Measure what things cost on this machine."""
    # As in the workers of a run: threads that wait by spinning hold up whatever else the machine does.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if only is not None and only not in SECTIONS:
        raise UsageError(f"There is no section '{only}'. Known: {', '.join(SECTIONS)}.")
    console = Console()
    known = sections_of(out.read_text(encoding="utf-8")) if out.exists() else {}
    found: list[Section] = []
    for name, (title, measure) in SECTIONS.items():
        if only in (None, name):
            console.print(f"{title} ...", highlight=False)
            found.append(Section(name, title, measure(), _machine()))
        elif name in known:
            found.append(known[name])
    found += [section for name, section in known.items() if name not in SECTIONS]
    out.write_text(page(found), encoding="utf-8")
    console.print(f"{len(found)} sections -> {out}", highlight=False)


def _machine() -> str:
    machine = environment.describe("cpu")
    packages: dict[str, Any] = machine["packages"]
    return (
        f"{environment.hardware().text}; {compressing.THREADS} of the threads; Python {machine['python']}, "
        f"torch {packages['torch']}, transformers {packages['transformers']}."
    )


if __name__ == "__main__":
    typer.run(main)
