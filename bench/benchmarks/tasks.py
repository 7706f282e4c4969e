"""What all tasks but downstream cost beside reconstruction and perplexity.

The demo suite is run as a user runs it, each time with a cache of its own, so that SAEs are trained and everything is
computed anew: wall time of the whole command, the start of the interpreter included. Orders alternate.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from . import command

_ROUNDS = 2
_BASE = ["reconstruction", "perplexity"]
ALL = [*_BASE, "overlap", "probing", "perturbation", {"name": "absorption", "min_letters": 4}]
PROBING = [
    {"card": "microworld", "attributes": ["mood", "tense", "topic"], "train_examples": 300, "test_examples": 200}
]


def section() -> str:
    """The table."""
    seconds: dict[str, list[float]] = {"base": [], "all": []}
    for number in range(_ROUNDS):
        for name in ("base", "all") if number % 2 == 0 else ("all", "base"):
            tasks = _BASE if name == "base" else ALL
            with tempfile.TemporaryDirectory() as folder:
                settings = {"tasks": tasks, "data.probing": PROBING}
                seconds[name].append(command.run("demo", Path(folder), settings))
    base, everything = median(seconds["base"]), median(seconds["all"])
    rows = [
        "| tasks of `saetransfer run demo` | time | ratio |",
        "| --- | ---: | ---: |",
        f"| reconstruction, perplexity | {base:.0f} s | 1.0 |",
        f"| all but downstream | {everything:.0f} s | {everything / base:.2f} |",
    ]
    return f"Medians of {_ROUNDS} runs each, SAEs trained anew.\n\n" + "\n".join(rows)
