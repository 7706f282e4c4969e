"""The tables of compressors in a README, one for each model and frozen SAE, from records of the suite `compressors`.

    python -m saetransfer.bench.compressors_table runs/compressors --out registry/compressors/README.md

They are put between two comments of that file. Rows stand in the order of the suite, where equal strengths are
neighbours; the same records give the same bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..leaderboard import store
from ..leaderboard.boards import place
from ..leaderboard.boards.columns import MEANINGS_OF_STATES, TASKS, header, of_states
from ..leaderboard.boards.groups import ComparableRecords, comparable
from ..leaderboard.boards.markdown import escape
from ..leaderboard.boards.notes import failure, versions
from ..leaderboard.boards.states import is_frozen
from ..leaderboard.errors import PageError
from ..leaderboard.record import Record
from ..leaderboard.text import printable
from .errors import UsageError
from .measuring.definitions import definitions
from .planning import suite

SECTION = "compressors"
_SUITE = "compressors"


def main(
    folders: Annotated[
        list[Path],
        typer.Argument(exists=True, file_okay=False, help="Folders that `saetransfer run compressors` wrote to."),
    ],
    out: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Markdown file that holds the two comments.")],
) -> None:
    """Put the tables of compressors into a Markdown file."""
    try:
        tables = render(store.read_all(folders).records)
        out.write_text(place.replaced(out.read_text(encoding="utf-8"), SECTION, tables), encoding="utf-8")
    except (UsageError, PageError) as error:
        raise typer.BadParameter(str(error)) from error


def render(records: Iterable[Record]) -> str:
    """The tables as Markdown.

    Raises:
        UsageError: none of the records is of an SAE that was made for the dense model.
    """
    frozen = [record for record in records if is_frozen(record)]
    if not frozen:
        raise UsageError("There is no record of a frozen SAE (a pretrained one, or one trained on the dense model).")
    parts = [part for group in comparable(frozen, TASKS) for part in _tables(group)]
    meanings = [(title, text) for title, text in MEANINGS_OF_STATES.items()]
    meanings += [(column.title, definitions()[column.metric].text) for column in of_states(frozen) if column.metric]
    meanings.append(("±", "half the width of the 95 % interval (bootstrap over documents)"))
    parts.append("\n".join(f"- *{escape(title)}*: {escape(text)}" for title, text in meanings))
    parts.append(f"Versions: {escape(versions(frozen))}.")
    return "\n\n".join(parts) + "\n"


def _tables(group: ComparableRecords) -> Iterator[str]:
    """The tables of one model: one for each SAE."""
    by_sae: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in group.records:
        by_sae[record.labels.sae, record.spec.site].append(record)
    for (sae, site), records in sorted(by_sae.items()):
        yield f"### {escape(group.title)}"
        yield escape(f"{group.facts}; SAE {printable(sae)} at {printable(site)}.")
        yield _table(_ordered(records))
        if told := _told(records):
            yield "\n".join(f"- {escape(line)}" for line in told)


def _table(records: Sequence[Record]) -> str:
    columns = of_states(records)
    heads = ["compressor", *(header(column, records, definitions()) for column in columns)]
    rules = ["---", *("---:" for _ in columns)]
    rows = [[printable(record.labels.compressor), *(column.show(record) for column in columns)] for record in records]
    return "\n".join(f"| {' | '.join(map(escape, row))} |" for row in (heads, rules, *rows))


def _ordered(records: Iterable[Record]) -> list[Record]:
    """As in the shipped suite; what it does not name comes last."""
    order = [text for text in suite.load(_SUITE).suite.compressors if isinstance(text, str)]

    def place(record: Record) -> tuple[int, str, str]:
        name = record.labels.compressor
        return order.index(name) if name in order else len(order), name, record.cell_id

    return sorted(records, key=place)


def _told(records: Iterable[Record]) -> list[str]:
    """Why there are no figures, and what verification warned of."""
    told = {f"{printable(r.labels.compressor)}: {failure(r)}" for r in records if r.error is not None}
    for record in records:
        for warning in (record.compression or {}).get("warnings", []):
            told.add(f"{printable(record.labels.compressor)}, warning: {printable(str(warning))}")
    return sorted(told)


if __name__ == "__main__":
    typer.run(main)
