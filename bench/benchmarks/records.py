"""What reading 10,000 synthetic records costs: into a table for analysis, as whole records, and onto boards.

Each record has every metric, sums of 170 documents, and r of 1,024 latents, as one of the demo has: about 50 kB.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from ...leaderboard import load, store
from ...leaderboard.boards import markdown
from ...leaderboard.record import Record, to_json
from ..measuring.definitions import definitions
from .html_page import MODELS, SAES, synthetic

N_RECORDS = 10_000
_SUMS = ("n_tokens", "n_scored", "residual_squared", "ce_dense", "ce_state", "ce_spliced", "l0")
_N_DOCUMENTS, _N_LATENTS = 170, 1024
_Result = TypeVar("_Result")


def section() -> str:
    """Write the records, and read them in each way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n_bytes = _write(folder)
        table, table_seconds = _timed(lambda: load(folder))
        found, whole_seconds = _timed(lambda: store.read_all([folder]).records)
        _, board_seconds = _timed(lambda: markdown.render(found, definitions()))
    rows = [
        "| | time |",
        "|---|---:|",
        f"| `saetransfer.leaderboard.load`: a table of {len(table):,} figures | {table_seconds:.1f} s |",
        f"| whole records, every field checked | {whole_seconds:.1f} s |",
        f"| boards of them, as Markdown | {board_seconds:.1f} s |",
    ]
    size = f"{len(found):,} records of {n_bytes / len(found) / 1e3:.0f} kB, in the file system's cache"
    return f"{size}.\n\n" + "\n".join(rows)


def _write(folder: Path) -> int:
    """Write the records; returns how many bytes they take."""
    (folder / store.CELLS_FOLDER).mkdir()
    n_bytes = 0
    for record in _records():
        content = to_json(record).encode()
        store.cell_path(folder, record.labels, record.cell_id).write_bytes(content)
        n_bytes += len(content)
    return n_bytes


def _records() -> Iterator[Record]:
    generator = np.random.default_rng(0)
    sums = {name: generator.normal(90.0, 10.0, _N_DOCUMENTS).tolist() for name in _SUMS}
    percents = generator.integers(0, 101, _N_LATENTS).tolist()
    for record in synthetic(N_RECORDS // MODELS // SAES):
        yield record.model_copy(update={"per_document": sums, "details": {"overlap": {"r_percent": percents}}})


def _timed(work: Callable[[], _Result]) -> tuple[_Result, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start
