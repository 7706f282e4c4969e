"""The files of a published board: page, Markdown, records, table, plots, feeds. The same records give the same bytes.

A list of the files lies beside them, so that publishing again takes out what it once wrote and no longer needs, and
nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from .. import store
from ..boards import markdown
from ..boards.columns import Definition
from ..errors import RecordError
from ..frame import load
from ..page import page
from ..record import Record, to_json
from . import feed
from .pictures import pictures

MANIFEST = "saetransfer-site.json"
PAGE, MARKDOWN, TABLE, CARD = "index.html", "LEADERBOARD.md", "figures.csv", "README.md"


def build(folders: Sequence[Path], definitions: Mapping[str, Definition], title: str) -> dict[str, bytes]:
    """Every file of the site by its path within it.

    Args:
        folders: with the records.
        definitions: what boards say about metrics.
        title: of the feeds and of the card.

    Raises:
        RecordError: a folder is missing or holds no records, or a file there is no record: a site shows all or nothing.
    """
    found = store.read_all(folders)
    if found.problems:
        told = "; ".join(f"{problem.path}: {problem.message}" for problem in found.problems)
        raise RecordError(f"nothing was published, because not every file holds a record; mend or remove {told}")
    if not found.records:
        raise RecordError(f"no records in {', '.join(map(str, folders))}; `run` writes them to its --out")
    entries = feed.entries(found.records)
    board = markdown.render(found.records, definitions)
    texts = {
        PAGE: page.render(found.records, definitions),
        MARKDOWN: board,
        TABLE: load(*folders).to_csv(index=False, lineterminator="\n"),
        CARD: _card(title, board),
        "feed.xml": feed.atom(title, entries),
        "feed.json": feed.json_feed(title, entries),
        # GitHub Pages would otherwise leave out what begins with an underscore, and build what it should copy.
        ".nojekyll": "",
        **{_place(record): to_json(record) for record in found.records},
    }
    return {name: text.encode() for name, text in texts.items()} | pictures(found.records, definitions)


def write(files: Mapping[str, bytes], folder: Path) -> int:
    """Put the files into a folder; returns how many that an earlier publishing left there were taken out.

    Raises:
        RecordError: `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise RecordError(f"{folder}: a site is a folder, and this is a file")
    stale = [name for name in _written_before(folder) if name not in files]
    for name in stale:
        (folder / name).unlink(missing_ok=True)
    listed = json.dumps(sorted(files), indent=1, ensure_ascii=False) + "\n"
    for name, content in {**files, MANIFEST: listed.encode()}.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return len(stale)


def _place(record: Record) -> str:
    return store.cell_path("", record.labels, record.cell_id).as_posix()


def _written_before(folder: Path) -> list[str]:
    """What the list in the folder names, as far as it lies within the folder."""
    try:
        names = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    known = names if isinstance(names, list) else []
    return [name for name in known if isinstance(name, str) and _is_within(name)]


def _is_within(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.parts != ()


def _card(title: str, board: str) -> str:
    """What a hub shows of a data set: where its table lies, and the board."""
    head = {"pretty_name": title, "tags": ["saetransfer", "sparse-autoencoders", "compression"]}
    configs = [{"config_name": "figures", "data_files": TABLE}]
    # JSON is YAML, and needs no thought about what a title holds.
    front = "\n".join(f"{key}: {json.dumps(value)}" for key, value in {**head, "configs": configs}.items())
    return f"---\n{front}\n---\n\n{board}"
