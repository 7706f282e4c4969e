"""What `saetransfer list` prints: everything a suite can name, a line each, and whether it can run here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import yaml
from rich.table import Table
from rich.text import Text

from ...registry import labelled, models, texts
from ...registry.compressors import shelf
from ...registry.microworld.language import ATTRIBUTES
from ...registry.saes import cards as sae_cards
from ...tasks import shelf as tasks
from ..console import console
from ..planning import suite
from . import compressor_list

Row = tuple[str, ...]


def show(kinds: Sequence[str]) -> None:
    """Print the lists of those kinds."""
    out = console()
    for kind in kinds:
        title = kind if len(kinds) > 1 else None
        if kind == "compressors":
            out.print(*([Text(title, style="italic")] if title else []), compressor_list.render(shelf.listings()))
        else:
            out.print(_table(title, *_LISTS[kind]), highlight=False)


def _table(title: str | None, head: Row, rows: Callable[[], Iterator[Row]]) -> Table:
    table = Table(*head, box=None, pad_edge=False, title=title, title_justify="left")
    for row in rows():
        table.add_row(*row)
    return table


def _models() -> Iterator[Row]:
    yield "microworld", "ships with saetransfer", "the embedded model: small, offline, its truth known"
    for name, card in models.cards().items():
        yield name, f"{card.hub} ({card.dtype})", card.summary


def _saes() -> Iterator[Row]:
    for name in sae_cards.CARDS:
        card = sae_cards.CARDS.get(name)
        yield name, card.model, card.summary


def _texts() -> Iterator[Row]:
    yield "microworld", "ships with saetransfer", "stories of a small world, made as they are asked for"
    for name, card in texts.cards().items():
        yield name, str(card.hub), card.summary


def _labelled() -> Iterator[Row]:
    yield "microworld", "ships with saetransfer", ", ".join(ATTRIBUTES)
    for name, card in labelled.cards().items():
        yield (
            name,
            str(card.hub),
            card.summary if card.missing is None else f"{card.summary} (not here: {card.missing})",
        )


def _tasks() -> Iterator[Row]:
    for task in map(tasks.make, tasks.KINDS):
        yield task.name, str(task.version), f"{tasks.KINDS[task.name].summary} ({len(task.metrics)} metrics)"


def _metrics() -> Iterator[Row]:
    arrows = {True: "higher", False: "lower", None: "-"}
    for metric in tasks.metrics().values():
        yield metric.name, metric.unit, arrows[metric.higher_is_better], metric.definition, metric.source


def _suites() -> Iterator[Row]:
    for name, file in suite.shipped().items():
        yield name, str(yaml.safe_load(file.read_text(encoding="utf-8")).get("description", "")).strip()


_LISTS: dict[str, tuple[Row, Callable[[], Iterator[Row]]]] = {
    "models": (("name", "where", "what"), _models),
    "saes": (("name", "model", "what"), _saes),
    "texts": (("name", "where", "what"), _texts),
    "labelled": (("name", "where", "what"), _labelled),
    "tasks": (("name", "version", "what"), _tasks),
    "metrics": (("name", "unit", "better", "definition", "source"), _metrics),
    "suites": (("name", "what"), _suites),
}
