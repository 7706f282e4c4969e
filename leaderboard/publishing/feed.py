"""What has changed on a board, as a feed: one entry for each day, suite and model, from the times in the records.

Atom (RFC 4287) and JSON Feed 1.1 hold the same entries. Nothing in them depends on when they were written.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5
from xml.etree import ElementTree

from ..record import Record
from ..text import printable, shortened

MOST_ENTRIES = 50
_ATOM = "http://www.w3.org/2005/Atom"
_JSON_FEED = "https://jsonfeed.org/version/1.1"
_AUTHOR = "saetransfer"
_PAGE = "index.html"
_MOST_NAMES = 20
_NAME_LENGTH = 80


class Entry(NamedTuple):
    """What was measured on one day of one suite and model."""

    id: str
    title: str
    updated: str
    """The newest of its records, RFC 3339."""
    text: str


def entries(records: Iterable[Record]) -> list[Entry]:
    """The newest entries first."""
    days: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        days[record.created_at[:10], record.labels.suite, record.labels.model].append(record)
    found = [_entry(key, days[key]) for key in sorted(days)]
    return sorted(found, key=lambda entry: (entry.updated, entry.id), reverse=True)[:MOST_ENTRIES]


def atom(title: str, found: Sequence[Entry]) -> str:
    """The entries as an Atom feed."""
    root = ElementTree.Element("feed", xmlns=_ATOM)
    newest = max((entry.updated for entry in found), default="1970-01-01T00:00:00Z")
    for tag, text in (("id", _id("board", title)), ("title", printable(title)), ("updated", newest)):
        ElementTree.SubElement(root, tag).text = text
    ElementTree.SubElement(ElementTree.SubElement(root, "author"), "name").text = _AUTHOR
    ElementTree.SubElement(root, "link", rel="alternate", href=_PAGE)
    for entry in found:
        part = ElementTree.SubElement(root, "entry")
        for tag, text in (("id", entry.id), ("title", entry.title), ("updated", entry.updated)):
            ElementTree.SubElement(part, tag).text = text
        ElementTree.SubElement(part, "link", rel="alternate", href=_PAGE)
        ElementTree.SubElement(part, "content", type="text").text = entry.text
    ElementTree.indent(root)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(root, encoding='unicode')}\n"


def json_feed(title: str, found: Sequence[Entry]) -> str:
    """The entries as a JSON feed."""
    items = [
        {"id": entry.id, "title": entry.title, "date_published": entry.updated, "content_text": entry.text}
        for entry in found
    ]
    content = {"version": _JSON_FEED, "title": printable(title), "authors": [{"name": _AUTHOR}], "items": items}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _entry(key: tuple[str, str, str], records: Sequence[Record]) -> Entry:
    day, suite, model = (shortened(printable(part), _NAME_LENGTH) for part in key)
    names = sorted({f"{record.labels.compressor} / {record.labels.sae}: {record.status}" for record in records})
    told = [shortened(printable(name), _NAME_LENGTH) for name in names[:_MOST_NAMES]]
    rest = [f"and {len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    title = f"{len(records)} {'cell' if len(records) == 1 else 'cells'} of {model} in suite {suite} on {day}"
    updated = max(record.created_at for record in records)
    return Entry(_id(*key), title, updated, "\n".join([*told, *rest]))


def _id(*parts: str) -> str:
    """The same for the same parts, wherever and whenever."""
    return f"urn:uuid:{uuid5(NAMESPACE_URL, json.dumps(['saetransfer', *parts]))}"
