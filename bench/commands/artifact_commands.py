"""The commands on the cache: `saetransfer artifacts` and `saetransfer artifacts clear`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from ..console import console as make_console
from ..errors import UsageError
from ..running.artifacts import CHECKPOINTS, KEY_FILE, UNFINISHED, default_folder
from .stored import KINDS, SAE, Stored, others_at_work, remove, stored

_DESCRIPTION = "cfg.json"
"""In the folder of an SAE, what SAELens keeps of it; read as it is, since SAELens takes seconds to import."""
_ALL = "all"
_WHAT = {
    SAE: "SAEs that were trained, finetuned or pruned",
    "reading": "activations of dense models on evaluation texts",
    "fit": "probes and the like, fitted on dense models",
    CHECKPOINTS: "trainings that are not finished",
    "try": "records of what `try` compares with",
    UNFINISHED: "being written now, or left by killed runs",
}


def show(kind: str, older_than: float) -> None:
    """`saetransfer artifacts`."""
    root, console = default_folder(), make_console()
    found = _chosen(root, (*KINDS, UNFINISHED) if kind == _ALL else (kind,), older_than)
    if not found:
        _say_nothing_found(root, console)
        return
    console.print(f"{root}: {_total(found)}", style="bold", markup=False, highlight=False)
    console.print(_kinds(found), highlight=False)
    if saes := [one for one in found if one.kind == SAE]:
        console.print()
        console.print(_saes(saes), highlight=False)


def clear(kind: str, older_than: float, yes: bool) -> None:
    """`saetransfer artifacts clear`.

    Raises:
        UsageError: nobody has confirmed it, and there is no terminal to ask on.
    """
    root, console = default_folder(), make_console()
    busy = others_at_work(root)
    chosen = _chosen(root, KINDS if kind == _ALL else (kind,), older_than)
    left = [one for one in chosen if one.kind == CHECKPOINTS] if busy else []
    chosen = [one for one in chosen if one not in left]
    _say_who_is_busy(busy, left, console)
    if not chosen:
        _say_nothing_found(root, console)
        return
    if not yes and not _confirmed(f"Delete {_total(chosen)} from {root}?"):
        console.print("Nothing was deleted.")
        return
    freed = remove(root, chosen)
    console.print(f"Freed {_total(freed)}.", highlight=False)


def _chosen(root: Path, kinds: Sequence[str], older_than: float) -> list[Stored]:
    return [one for one in stored(root, kinds) if one.age_days >= older_than]


def _say_nothing_found(root: Path, console: Console) -> None:
    what = "There is nothing of that in the cache" if stored(root) else "The cache is empty"
    console.print(f"{what}: {root}", markup=False, highlight=False, soft_wrap=True)


def _say_who_is_busy(busy: Sequence[int], left: Sequence[Stored], console: Console) -> None:
    if not busy:
        return
    processes = f"process {busy[0]}" if len(busy) == 1 else f"processes {', '.join(map(str, busy))}"
    kept = f" Left alone: {_total(left)}." if left else ""
    sentence = f"A run is using this cache ({processes}): its later states may miss what is deleted now."
    console.print(sentence + kept, style="yellow", highlight=False)


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to answer on: say --yes.")
    return typer.confirm(question)


def _total(things: Sequence[Stored]) -> str:
    """Such as `3 sae, 1 fit (1.2 MB)`."""
    counts = {kind: sum(one.kind == kind for one in things) for kind in (*KINDS, UNFINISHED)}
    parts = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return f"{parts or 'nothing'} ({decimal(sum(one.size_bytes for one in things))})"


def _kinds(found: Sequence[Stored]) -> Table:
    table = Table("kind", "count", "size", "what", box=None, pad_edge=False)
    for kind, what in _WHAT.items():
        if own := [one for one in found if one.kind == kind]:
            table.add_row(kind, str(len(own)), decimal(sum(one.size_bytes for one in own)), what)
    return table


def _saes(found: Sequence[Stored]) -> Table:
    heads = ("SAE", "architecture", "site", "state", "model", "width", "size", "age")
    table = Table(*heads, box=None, pad_edge=False)
    for one in found:
        key = one.read(KEY_FILE)
        sae = key.get("sae", {})
        table.add_row(
            _source(sae),
            str(sae.get("architecture", "?")),
            str(sae.get("site", "?")),
            _state(key.get("compressor", {})),
            _model(key.get("model", {}), one.read(_DESCRIPTION)),
            str(sae.get("d_sae", "?")),
            decimal(one.size_bytes),
            _age(one.age_days),
        )
    return table


def _source(sae: Mapping[str, Any]) -> str:
    """Such as `pruned (wanda 0.5)`."""
    source, params = str(sae.get("source", "?")), sae.get("params", {})
    if source == "pruned":
        return f"pruned ({' '.join(str(params[key]) for key in ('method', 'sparsity') if key in params)})"
    return f"{source} ({params['tokens']:,} tokens)" if "tokens" in params else source


def _state(compressor: Mapping[str, Any]) -> str:
    """Such as `dense` or `wanda sparsity=0.5`: the methods, each with its numbers."""
    steps = []
    for step in compressor.get("steps", []):
        numbers = {name: value for name, value in step["params"].items() if type(value) in (int, float)}
        steps.append(" ".join([step["method"], *(f"{name}={value}" for name, value in numbers.items())]))
    return " + ".join(steps) or "dense"


def _model(identity: Mapping[str, Any], description: Mapping[str, Any]) -> str:
    """Its id on the hub; otherwise as the SAE's own description calls it, since a key holds no names."""
    name = identity.get("hub") or (description.get("metadata") or {}).get("model_name")
    return str(name or f"weights {str(identity.get('weights', '?'))[:8]}")


def _age(days: float) -> str:
    if days >= 1:
        return f"{days:.0f} d"
    hours = days * 24
    return f"{hours:.0f} h" if hours >= 1 else f"{hours * 60:.0f} min"
