"""What a leaderboard accepts, what it tells a contributor, and how records of several people go together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saetransfer.leaderboard import store
from saetransfer.leaderboard.errors import RecordError
from saetransfer.leaderboard.gate.judging import Rules
from saetransfer.leaderboard.record import Record, to_json
from saetransfer.leaderboard.submissions import merge as merging
from saetransfer.leaderboard.submissions import report
from saetransfer.leaderboard.submissions.validate import Report, validate
from tests.leaderboard.measured import GAUGES, INCREASE, MACHINE, failed, measured, sums

ENVIRONMENT = {
    "saetransfer": "0.1.0",
    "python": "3.11.7",
    "packages": {"torch": "2.13.0", "transformers": "5.23.0"},
    "hardware": MACHINE.model_dump(mode="json"),
    "device": "cpu",
    "threads": 2,
    "seed": 0,
    "command": "saetransfer run demo",
    "commit": "905a14d",
}


def whole(compressor: str = "dense", sae: str = "frozen", source: str = "trained", **changes: Any) -> Record:
    return measured(compressor, **{"sae": sae, "source": source, "environment": ENVIRONMENT, **changes})


def submitted(folder: Path, *records: Record) -> Path:
    """A folder with a dense cell, a random control, and the records."""
    for record in (whole(), whole(sae="random", source="random"), *records):
        store.write(record, folder)
    return folder


def told(found: Report) -> str:
    return "\n".join(f"{mistake.what}; {mistake.remedy}" for mistakes in found.found.values() for mistake in mistakes)


def test_whole_records_are_accepted(tmp_path: Path) -> None:
    found = validate([submitted(tmp_path, whole("wanda-50"), failed("rtn", environment=ENVIRONMENT))], GAUGES)
    assert (told(found), found.n_errors, found.n_files) == ("", 0, 4)
    assert found.digest == "Acceptable: 4 records, 0 mistakes, 0 warnings."


def _edit(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update(changes)


def _without(part: str, key: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[part].pop(key)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_edit(cell_id="0123456789abcdef"), "the spec or the id was changed"),
        (lambda content: content["spec"].update(seed=7), "the spec or the id was changed"),
        (_without("environment", "hardware"), "does not describe the hardware"),
        (_without("environment", "command"), "does not tell the command"),
        (lambda content: content["environment"]["packages"].pop("torch"), "does not tell the version of torch"),
        (lambda content: content["metrics"][INCREASE].update(value=0.05), "the sums of its documents give"),
        (lambda content: content["metrics"][INCREASE].update(value=-9e9), "which it cannot be"),
        (lambda content: content["metrics"][INCREASE].update(unit="bits"), "is in 'bits', and should be in 'nats'"),
        (lambda content: content["metrics"][INCREASE].update(value=None), "no value and no reason"),
        (_edit(metrics={}), "has no figures"),
        (lambda content: content["metrics"].update({"mine.x": content["metrics"][INCREASE]}), "belongs to no task"),
    ],
)
def test_every_mistake_is_told_with_what_to_do(
    tmp_path: Path, edit: Callable[[dict[str, Any]], None], said: str
) -> None:
    submitted(tmp_path)
    content = json.loads(to_json(whole("wanda-50")))
    edit(content)
    (tmp_path / "cells" / "edited.json").write_text(json.dumps(content), encoding="utf-8")
    found = validate([tmp_path], GAUGES)
    assert found.n_errors >= 1
    assert said in told(found)
    assert "run the cell again" in told(found)


def test_damaged_files_duplicates_and_broken_controls_are_told(tmp_path: Path) -> None:
    exact = whole().metrics[INCREASE].model_copy(update={"value": 0.5})
    inexact = whole(sae="other", metrics={"perplexity.transfer_gap": exact})
    submitted(tmp_path / "one", inexact)
    store.write(whole(), tmp_path / "two")
    (tmp_path / "two" / "cells" / "cut.json").write_text("{", encoding="utf-8")
    text = told(validate([tmp_path], GAUGES))
    assert "not JSON, or cut short" in text
    assert "the same cell lies in" in text
    assert "a control does not hold: perplexity.transfer_gap is 0.5 on the dense state" in text


def test_a_grid_without_controls_is_told(tmp_path: Path) -> None:
    store.write(whole("wanda-50"), tmp_path)
    found = validate([tmp_path], GAUGES)
    assert "has no dense state" in told(found)
    assert "has no random SAE" in told(found)
    assert found.n_errors == 1


def test_what_is_odd_but_not_wrong_is_a_warning(tmp_path: Path) -> None:
    changed = whole("wanda-50", environment=ENVIRONMENT | {"commit": "905a14d+changes"})
    place = store.write(changed, submitted(tmp_path))
    place.rename(place.with_name("mine.json"))
    found = validate([tmp_path], GAUGES)
    assert found.n_errors == 0
    assert "changes to saetransfer that are in no commit" in told(found)
    assert f"rename it to {place.name}" in told(found)


def test_the_report_fits_a_comment_and_escapes_what_it_shows(tmp_path: Path) -> None:
    folder = tmp_path / "<script>|`x`"
    (folder / "cells").mkdir(parents=True)
    for index in range(50):
        (folder / "cells" / f"{index}.json").write_text("{", encoding="utf-8")
    found = validate([folder], GAUGES)
    text = report.render(found, most_bytes=2_000)
    assert len(text.encode()) <= 2_000
    assert "more did not fit here" in text
    assert "<script>" not in text
    assert "\\|" in text


def merged(folder: Path, *sides: list[Record]) -> merging.Merged:
    for index, records in enumerate(sides):
        for record in records:
            store.write(record, folder / str(index))
    return merging.merge([folder / str(index) for index in range(len(sides))], Rules(GAUGES))


def test_folders_are_merged_and_every_duplicate_gets_an_answer(tmp_path: Path) -> None:
    later = {"created_at": "2026-03-01T00:00:00Z"}
    found = merged(
        tmp_path,
        [whole(), whole("a"), failed("b"), whole("c")],
        [whole(), whole("a", **later), whole("b"), whole("d")],
    )
    merging.write(found, tmp_path / "out")
    records = {record.labels.compressor: record for record in store.read_all([tmp_path / "out"]).records}
    assert sorted(records) == ["a", "b", "c", "d", "dense"]
    assert records["a"].created_at == later["created_at"]
    assert records["b"].status == "ok"
    assert not found.conflicts
    for said in ("the same record in", "kept the newer", "it failed"):
        assert sum(said in answer for answer in found.answers) == 1


def test_records_that_differ_are_a_conflict(tmp_path: Path) -> None:
    found = merged(tmp_path, [whole()], [whole(per_document=sums(0, 0.5), created_at="2026-03-01T00:00:00Z")])
    (conflict,) = found.conflicts
    assert "differ: regressed" in conflict
    assert INCREASE in conflict


def test_the_order_of_folders_does_not_count(tmp_path: Path) -> None:
    one, other = [whole("a"), failed("b")], [whole("a", created_at="2026-03-01T00:00:00Z"), whole("b")]
    first, second = merged(tmp_path / "x", one, other), merged(tmp_path / "y", other, one)
    assert {to_json(record) for record in first.kept.values()} == {to_json(record) for record in second.kept.values()}


def test_nothing_is_merged_where_a_file_holds_no_record(tmp_path: Path) -> None:
    (tmp_path / "0" / "cells").mkdir(parents=True)
    (tmp_path / "0" / "cells" / "cut.json").write_text("{", encoding="utf-8")
    with pytest.raises(RecordError, match="nothing was merged"):
        merged(tmp_path, [whole()])


def test_tables_of_latents_go_along(tmp_path: Path) -> None:
    record = whole()
    table = store.table_path(tmp_path / "0", record.labels, record.cell_id)
    table.parent.mkdir(parents=True)
    table.write_bytes(b"a table")
    merging.write(merged(tmp_path, [record]), tmp_path / "out")
    assert store.table_path(tmp_path / "out", record.labels, record.cell_id).read_bytes() == b"a table"
