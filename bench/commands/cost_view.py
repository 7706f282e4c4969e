"""The costs of one record, for people: where they were measured, what they are, and why some are not there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from ...leaderboard.costs import TASK
from ...leaderboard.record import Measurement, Record
from ...tasks import shelf as tasks

_DISTURBED = 0.05
"""Share of waiting above which a reader is told."""
_WHOLE = ("bytes", "tokens", "tokens/s")
"""Units whose figures are shown without decimals."""


def show(record: Record, console: Console) -> None:
    """Print the costs of a record, if it has any."""
    costs = {name: figure for name, figure in record.metrics.items() if figure.kind == "cost"}
    if not costs:
        return
    console.print(_where(record), style="bold", markup=False, highlight=False)
    console.print(_table(costs))
    missing: dict[str, list[str]] = defaultdict(list)
    for name, figure in costs.items():
        if figure.value is None:
            missing[figure.reason or "no reason given"].append(name.removeprefix(f"{TASK}."))
    for reason, names in missing.items():
        console.print(f"No {', '.join(names)}: {reason}", markup=False, highlight=False)


def _where(record: Record) -> str:
    hardware, used = record.hardware, record.environment
    parts = [
        f"Costs on {hardware.text if hardware else 'unknown hardware'}",
        f"device {used.get('device')}",
        f"{used.get('threads')} threads used",
        f"{used.get('jobs')} states at a time",
    ]
    details: Mapping[str, Any] = record.details.get(TASK, {})
    waited = details.get("waiting_share")
    if waited is not None and waited > _DISTURBED:
        parts.append(f"DISTURBED: {waited:.0%} of the timed seconds spent waiting for a processor that others used")
    return "; ".join(parts)


def _table(costs: Mapping[str, Measurement]) -> Table:
    known = tasks.metrics()
    table = Table("cost", "value", "95 % interval", "n", "what it is", box=None, pad_edge=False)
    for name, figure in costs.items():
        if figure.value is None:
            continue
        interval = "-" if figure.ci is None else " to ".join(_number(end, figure.unit) for end in figure.ci)
        unit = "" if figure.unit == "1" else f" {figure.unit}"
        meaning = known[name].definition if name in known else ""
        value = f"{_number(figure.value, figure.unit)}{unit}"
        table.add_row(name.removeprefix(f"{TASK}."), value, interval, str(figure.n or "-"), meaning)
    return table


def _number(value: float, unit: str) -> str:
    return f"{value:,.0f}" if unit in _WHOLE and abs(value) >= 100 else f"{value:.4g}"
