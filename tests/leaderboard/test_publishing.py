"""The published site: everything in it, the same bytes from the same records, nothing outside its folder."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from saetransfer.leaderboard import store
from saetransfer.leaderboard.errors import RecordError
from saetransfer.leaderboard.publishing import feed, site
from saetransfer.leaderboard.record import Record
from tests.leaderboard.examples import DEFINITIONS, grid, record

TITLE = "A <b>title</b> & more"
NASTY = ("<script>alert(1)</script>|", "../../etc/passwd")
ATOM = "{http://www.w3.org/2005/Atom}"


def put(folder: Path, *records: Record) -> Path:
    for one in records:
        store.write(one, folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put(tmp_path_factory.mktemp("records"), *grid(), *map(record, NASTY))


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, bytes]:
    return site.build([folder], DEFINITIONS, TITLE)


def test_the_site_holds_page_board_table_feeds_and_every_record(files: dict[str, bytes]) -> None:
    cells = [name for name in files if name.startswith("cells/")]
    plots = [name for name in files if name.startswith("plots/")]
    assert len(cells) == 7
    assert find_spec("matplotlib") is None or {Path(name).suffix for name in plots} == {".svg", ".png"}
    others = {site.PAGE, site.MARKDOWN, site.TABLE, site.CARD, "feed.xml", "feed.json", ".nojekyll"}
    assert {*files} == {*others, *cells, *plots}
    assert all(b"<script>alert(1)" not in files[name] for name in (site.PAGE, site.MARKDOWN, site.CARD, "feed.xml"))


def test_the_same_records_in_another_order_are_the_same_bytes(tmp_path: Path, files: dict[str, bytes]) -> None:
    for index, one in enumerate(reversed([*grid(), *map(record, NASTY)])):
        store.write(one, tmp_path / str(index))
    assert site.build(sorted(tmp_path.iterdir(), reverse=True), DEFINITIONS, TITLE) == files


def test_published_records_are_records(tmp_path: Path, files: dict[str, bytes]) -> None:
    site.write(files, tmp_path / "site")
    found = store.read_all([tmp_path / "site"])
    assert (len(found.records), found.problems) == (7, ())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site"]


def test_publishing_again_takes_out_only_what_it_wrote(tmp_path: Path, files: dict[str, bytes]) -> None:
    site.write(files, tmp_path)
    (tmp_path / "CNAME").write_text("example.org")
    (tmp_path / "cells" / "mine.json").write_text("{}")
    fewer = dict(sorted(files.items())[:-1])
    assert site.write(fewer, tmp_path) == 1
    assert (tmp_path / "CNAME").exists()
    assert (tmp_path / "cells" / "mine.json").exists()
    assert not (tmp_path / sorted(files)[-1]).exists()


def test_a_list_that_somebody_changed_deletes_nothing_outside(tmp_path: Path, files: dict[str, bytes]) -> None:
    outside = tmp_path / "precious"
    outside.write_text("mine")
    folder = tmp_path / "site"
    folder.mkdir()
    for content in (json.dumps(["../precious", str(outside), "", 3]), "{}", "[", "null"):
        (folder / site.MANIFEST).write_text(content)
        assert site.write(files, folder) == 0
        assert outside.exists()


def test_a_damaged_record_an_empty_folder_or_a_file_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    (tmp_path / "cells").mkdir()
    with pytest.raises(RecordError, match="no records in"):
        site.build([tmp_path], DEFINITIONS, TITLE)
    (tmp_path / "cells" / "a.json").write_text("{")
    with pytest.raises(RecordError, match="nothing was published"):
        site.build([tmp_path], DEFINITIONS, TITLE)
    with pytest.raises(RecordError, match="this is a file"):
        site.write(files, tmp_path / "cells" / "a.json")


def test_the_feeds_tell_what_was_measured_when(files: dict[str, bytes]) -> None:
    root = ElementTree.fromstring(files["feed.xml"])
    (entry,) = root.findall(f"{ATOM}entry")
    assert root.findtext(f"{ATOM}title") == TITLE
    assert root.findtext(f"{ATOM}updated") == entry.findtext(f"{ATOM}updated") == "2026-01-02T03:04:05Z"
    assert entry.findtext(f"{ATOM}title") == "7 cells of microworld in suite demo on 2026-01-02"
    assert "wanda-50 / random: failed" in (entry.findtext(f"{ATOM}content") or "")
    (item,) = json.loads(files["feed.json"])["items"]
    assert item["id"] == entry.findtext(f"{ATOM}id")
    assert item["content_text"] == entry.findtext(f"{ATOM}content")


def test_newest_entries_come_first_and_ids_stay() -> None:
    early, late = record(), record("wanda-50", created_at="2026-02-01T00:00:00Z")
    both = feed.entries([early, late])
    assert [entry.updated[:10] for entry in both] == ["2026-02-01", "2026-01-02"]
    assert both[1] == feed.entries([early])[0]
    many = [record(f"c{day}", created_at=f"2026-{1 + day // 28:02}-{1 + day % 28:02}T00:00:00Z") for day in range(60)]
    assert len(feed.entries(many)) == feed.MOST_ENTRIES


def test_the_card_of_the_data_set_names_its_table(files: dict[str, bytes]) -> None:
    _, front, board = files[site.CARD].decode().split("---\n", 2)
    head = yaml.safe_load(front)
    assert head["pretty_name"] == TITLE
    assert head["configs"] == [{"config_name": "figures", "data_files": site.TABLE}]
    assert board.strip() == files[site.MARKDOWN].decode().strip()
