"""The HTML page of 5,000 synthetic cells: how long it takes to build, to open and to sort."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...leaderboard.page.page import render
from ...leaderboard.record import Labels, Measurement, Record, Spec, cell_id_of
from ..measuring.definitions import definitions

MODELS, COMPRESSORS, SAES = 10, 50, 10
_CHROMIUM = Path("/usr/bin/chromium")
_SORT = """
(sorter) => {
  const start = performance.now();
  sorter.click();
  return new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now() - start))));
}
"""
"""Milliseconds from a click to the next frame behind it."""


def section() -> str:
    """Build the page, open it in a browser where there is one, and say what that took."""
    records = list(synthetic())
    start = time.perf_counter()
    text = render(records, definitions())
    rows = [("building", f"{time.perf_counter() - start:.1f} s"), ("size", f"{len(text.encode()) / 1e6:.1f} MB")]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(text, encoding="utf-8")
        rows += _in_browser(file)
    table = "\n".join(["| | |", "|---|---:|", *(f"| {name} | {figure} |" for name, figure in rows)])
    empty = len(render([], definitions()).encode()) / 1e6
    return (
        f"The page (`saetransfer leaderboard --html`) of {len(records):,} synthetic cells, {MODELS} models x "
        f"{COMPRESSORS} compressors x {SAES} SAEs, each with all {len(definitions())} metrics; the libraries take "
        f"{empty:.1f} MB of every page. Sorting: from the click on a heading to the next frame, the slowest of all "
        f"columns, with all cells in view.\n\n{table}"
    )


def synthetic(n_compressors: int = COMPRESSORS) -> Iterator[Record]:
    """Cells with random figures for every metric that there is."""
    generator = np.random.default_rng(0)
    units = {name: definition.unit for name, definition in definitions().items()}
    for model in range(MODELS):
        for compressor in range(n_compressors):
            for sae in range(SAES):
                yield _record((f"model-{model}", f"compressor-{compressor}", f"sae-{sae}"), units, generator)


def _record(names: tuple[str, str, str], units: dict[str, str], generator: np.random.Generator) -> Record:
    model, compressor, sae = names
    steps: list[dict[str, Any]] = [] if compressor == "compressor-0" else [{"method": "made-up", "name": compressor}]
    spec = Spec(
        model={"name": model},
        compressor=steps,
        sae={"source": "pretrained", "name": sae},
        site="blocks.2.hook_resid_post",
        data={"tokens": 16384, "context": 128},
        tasks={},
        seed=0,
    )
    return Record(
        cell_id=cell_id_of(spec),
        status="ok",
        created_at="2026-01-01T00:00:00Z",
        labels=Labels(
            suite="synthetic", model=model, compressor=compressor, sae=sae, sae_source="pretrained", text="none"
        ),
        spec=spec,
        compression={
            "effective_bits": 4.0,
            "bytes": {"dense": 1000, "theoretical": 100 + int(generator.integers(900))},
        },
        metrics={name: _measurement(unit, generator) for name, unit in units.items()},
    )


def _measurement(unit: str, generator: np.random.Generator) -> Measurement:
    value, half = float(generator.normal()), abs(float(generator.normal())) / 10
    return Measurement(value=value, unit=unit, ci=(value - half, value + half), n=16384)


def _in_browser(file: Path) -> list[tuple[str, str]]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return [("opening and sorting", "not measured: no playwright")]
    if not _CHROMIUM.exists():
        return [("opening and sorting", f"not measured: no {_CHROMIUM}")]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(offline=True).new_page()
        start = time.perf_counter()
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]", timeout=120_000)
        opened = time.perf_counter() - start
        page.locator("#set").select_option("all")
        sorters = page.locator("#table thead .dt-column-order").all()
        slowest = max(float(sorter.evaluate(_SORT)) for sorter in sorters)
        browser.close()
    return [("opening", f"{opened:.1f} s"), ("sorting", f"{slowest:.0f} ms")]
