"""Two sets of records -> verdict: cell by cell, task by task, figure by figure (`judging.py`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..costs import incomparable
from ..record import Record, canonical_json
from ..text import printable
from .judging import Rules, of_task
from .matching import Pair, match
from .paired import Cell
from .verdict import Class, Finding, Verdict, name_of


def compare(base: Sequence[Record], new: Sequence[Record], rules: Rules) -> Verdict:
    """The verdict on new records against those of a baseline."""
    pairs = match(base, new)
    dense = _DenseCells(base), _DenseCells(new)
    names = Counter(name_of(pair.known) for pair in pairs)
    findings = tuple(finding for pair in pairs for finding in _of_pair(_called(pair, names), pair, dense, rules))
    failed = any(
        pair.new is not None and pair.new.status == "failed" and (pair.base is None or pair.base.status == "ok")
        for pair in pairs
    )
    notes = [
        f"{name_of(pair.known)} is not what it was: {'; '.join(pair.differences)}"
        for pair in pairs
        if pair.differences and pair.comparable
    ]
    return Verdict(findings, len(base), len(new), failed, tuple(notes))


class _DenseCells:
    """The cells of dense states, found by the cells that are compared with them."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._found = {self._key(record): record for record in records if not record.spec.compressor}

    def cell(self, record: Record) -> Cell:
        """A record with its dense cell, if that is there."""
        return Cell(record, self._found.get(self._key(record)))

    @staticmethod
    def _key(record: Record) -> str:
        labels, spec = record.labels, record.spec
        return canonical_json([labels.model, labels.sae, spec.model, spec.site, spec.data, spec.seed])


def _called(pair: Pair, names: Mapping[str, int]) -> str:
    """What a cell is called: by its names, and by its id too where others have the same names."""
    name = name_of(pair.known)
    return f"{name} #{pair.known.cell_id[:6]}" if names[name] > 1 else name


def _of_pair(cell: str, pair: Pair, dense: tuple[_DenseCells, _DenseCells], rules: Rules) -> Iterator[Finding]:
    base, new = pair.base, pair.new
    if base is None or new is None:
        yield _alone(pair, cell)
    elif base.status == "ok" and new.status != "ok":
        yield _lost(cell, base, new)
    elif new.status != "ok":
        yield Finding(cell, None, Class.NOT_COMPARABLE, note=f"{base.status} before and {new.status} now: {_why(new)}")
    elif base.status != "ok":
        yield Finding(cell, None, Class.FIXED, note=f"{base.status} before: {_why(base)}")
    elif not pair.comparable:
        yield Finding(cell, None, Class.NOT_COMPARABLE, note=f"other data: {'; '.join(pair.differences)}")
    else:
        yield from _of_tasks(cell, dense[0].cell(base), dense[1].cell(new), rules)


def _alone(pair: Pair, cell: str) -> Finding:
    if pair.new is None:
        return Finding(cell, None, Class.MISSING, note="in the baseline, not among the new records")
    failed = pair.new.status == "failed"
    return Finding(
        cell, None, Class.NEW, note=f"not in the baseline{f', and failed: {_why(pair.new)}' if failed else ''}"
    )


def _lost(cell: str, base: Record, new: Record) -> Finding:
    """A cell that had figures and has none."""
    if new.status == "failed":
        return Finding(cell, None, Class.NEWLY_FAILING, note=_why(new))
    # What cannot be measured on other hardware has not become worse.
    elsewhere = incomparable(base, new) is not None
    verdict = Class.NOT_COMPARABLE if elsewhere else Class.MISSING
    return Finding(cell, None, verdict, note=f"skipped{' on this machine' if elsewhere else ''}: {_why(new)}")


def _why(record: Record) -> str:
    return printable(record.error.message) if record.error is not None else ""


def _of_tasks(cell: str, base: Cell, new: Cell, rules: Rules) -> Iterator[Finding]:
    old, fresh = base.record.spec.tasks, new.record.spec.tasks
    for task in dict.fromkeys((*old, *fresh)):
        every = f"{task}.*"
        if task not in fresh:
            yield Finding(cell, every, Class.MISSING, note="the task is not measured any more")
        elif task not in old:
            yield Finding(cell, every, Class.NEW, note="the task was not measured before")
        elif canonical_json(old[task]) != canonical_json(fresh[task]):
            yield Finding(cell, every, Class.NOT_COMPARABLE, note="the version or the settings of the task differ")
        else:
            yield from of_task(cell, task, base, new, rules)
