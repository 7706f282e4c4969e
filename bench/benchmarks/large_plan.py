"""The plan of a large grid: time and memory of `--dry-run`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_STATES, _SAES = 2_500, 40
# The peak is that of the command's own process: the kernel keeps it, and the process tells it when it ends.
_COMMAND = """
import resource, sys
from saetransfer.bench.cli import main
try:
    main()
finally:
    sys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


def section() -> str:
    """Seconds and peak memory."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "grid.yaml"
        file.write_text(json.dumps(suite()), encoding="utf-8")
        command = [sys.executable, "-c", _COMMAND, "run", str(file), "--dry-run", "--out", str(Path(name) / "out")]
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - start
    peak_bytes = int(done.stderr.splitlines()[-1]) * 1024
    return (
        f"`saetransfer run --dry-run` of {_STATES:,} states x {_SAES} SAEs, {_STATES * _SAES:,} cells, the start of "
        f"the interpreter included: {seconds:.1f} s, and {peak_bytes / 2**20:.0f} MiB of memory at most."
    )


def suite() -> dict[str, Any]:
    """The suite: strengths of one method, and SAEs of every source."""
    base = "microworld-resid-2"
    compressors = [{"name": f"wanda-{i}", "method": "wanda", "sparsity": (i + 1) / _STATES} for i in range(_STATES - 1)]
    saes: list[Any] = [base]
    for i in range((_SAES - 1) // 3):
        on = "state" if i % 2 else "dense"
        saes += [
            {"name": f"random-{i}", "source": "random", "like": base},
            {"name": f"trained-{i}", "source": "trained", "like": base, "on": on, "tokens": 10_000 + i},
            {"name": f"pruned-{i}", "source": "pruned", "base": base, "method": "wanda", "sparsity": 0.3 + 0.01 * i},
        ]
    return {
        "name": "grid",
        "models": ["microworld"],
        "compressors": ["dense", *compressors],
        "saes": saes,
        "tasks": ["reconstruction", "perplexity", "overlap", "probing"],
        "data": {"text": "microworld", "tokens": 4096},
    }
