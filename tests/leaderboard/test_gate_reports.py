"""The verdict in its forms: each holds what its reader can read, whatever names and messages stand in the records."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema
from rich.console import Console

from saetransfer.leaderboard.gate import annotations, baseline, junit, report, summary, terminal
from saetransfer.leaderboard.gate.verdict import Class, Finding, Verdict
from saetransfer.leaderboard.record import Record
from saetransfer.leaderboard.store import read_all
from tests.leaderboard.measured import failed, measured

NASTY = (
    "<script>alert(1)</script>|",
    "../../etc/passwd",
    "a`b**c_[x](javascript:y)\n# h\x1b[31m\u202e&%0A::error::",
    "雪",
)
SCHEMA = xmlschema.XMLSchema(str(Path(__file__).with_name("junit.xsd")))


def finding(verdict: Class, name: str = "m/c/s", metric: str | None = "perplexity.transfer_gap") -> Finding:
    judged = verdict in (Class.REGRESSED, Class.IMPROVED, Class.SAME)
    figures = (0.1, 0.2, (0.09, 0.11), 0.01) if judged else (None, None, None, None)
    return Finding(name, metric, verdict, "nats", *figures, note=f"because of {name}")


def everything() -> Verdict:
    """A finding of each class under each name."""
    findings = [
        finding(one, f"{index}{name}", f"task.{one.name}.{name}") for one in Class for index, name in enumerate(NASTY)
    ]  # fmt: skip
    whole = [finding(one, f"whole {index}", None) for index, one in enumerate(Class)]
    return Verdict((*findings, *whole), 4, 5, cells_failed=True, notes=NASTY)


def many(count: int) -> Verdict:
    findings = tuple(finding(Class.REGRESSED, f"model/compressor-{index}/sae") for index in range(count))
    return Verdict(findings, count, count, cells_failed=False)


def test_junit_holds_to_its_schema_and_counts_what_it_holds() -> None:
    text = junit.render(everything())
    SCHEMA.validate(text)
    root = ElementTree.fromstring(text)
    for tag, counted in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert len(root.findall(f".//{tag}")) == int(root.attrib[counted]) > 0
    assert len(root.findall(".//testcase")) == int(root.attrib["tests"])
    SCHEMA.validate(junit.render(Verdict((), 0, 0, cells_failed=False)))


def test_the_schema_refuses_what_is_no_junit() -> None:
    for broken in ("<testsuite/>", "<testsuites tests='1'/>", junit.render(many(2)).replace("<failure", "<fail")):
        with pytest.raises((xmlschema.XMLSchemaValidationError, ElementTree.ParseError)):
            SCHEMA.validate(broken)


class Tags(HTMLParser):
    """Collects the tags of raw HTML in a text, and whether they are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.opened.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag


def check_markdown(text: str) -> None:
    tags = Tags()
    tags.feed(text)
    assert tags.opened == []
    assert tags.seen <= {"details", "summary"}
    for line in text.splitlines():
        if line.startswith("|"):
            unescaped = line.replace("\\\\", "").replace("\\|", "")
            assert unescaped.count("|") == 8
        assert "\x1b" not in line


def test_the_summary_is_balanced_markdown_whatever_the_names() -> None:
    text = summary.render(everything())
    check_markdown(text)
    assert text.startswith(f"{summary.MARK}\n\n### ✗ saetransfer: Worse than the baseline: 5 regressed")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\|" in text
    assert "<summary>same" not in text


@pytest.mark.parametrize("limit", [summary.COMMENT_BYTES, 2_000])
def test_a_summary_fits_its_place_and_says_what_it_leaves_out(limit: int) -> None:
    assert summary.SUMMARY_BYTES < 2**20
    assert summary.COMMENT_BYTES < 2**16
    text = summary.render(many(1_000), limit)
    check_markdown(text)
    assert 0.5 * limit < len(text.encode()) <= limit
    shown = text.count("perplexity.transfer_gap")
    assert f"{1_000 - shown} more did not fit here" in text
    assert text.index("1000 regressed") < 200


def test_at_most_ten_annotations_one_line_each() -> None:
    lines = annotations.render(everything())
    assert len(lines) == annotations.MOST == 10
    assert all(line.startswith(("::error ", "::notice ")) and "\n" not in line for line in lines)
    assert not any("%0A" in line.replace("%250A", "") for line in lines)
    assert annotations.render(Verdict((finding(Class.SAME),), 1, 1, cells_failed=False)) == []
    (line,) = annotations.render(Verdict((finding(Class.REGRESSED),), 1, 1, cells_failed=False))
    assert line.startswith("::error title=saetransfer%3A regressed::regressed: m/c/s, perplexity.transfer_gap 0.1")


def test_the_json_report_holds_every_finding() -> None:
    found = json.loads(report.render(everything()))
    assert found["exit_code"] == 1
    assert len(found["findings"]) == sum(found["counts"].values()) == 5 * len(Class)
    assert found["findings"][0]["step"] == pytest.approx(0.1)


def test_the_terminal_shows_the_worst_first_and_drives_no_terminal() -> None:
    console = Console(file=io.StringIO(), width=160, force_terminal=False)
    terminal.show(everything(), console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "\x1b" not in text
    places = [text.index(f"{one.value} (5)") for one in Class if one is not Class.SAME]
    assert places == sorted(places)
    assert "same (5)" not in text


def test_a_baseline_is_replaced_but_what_failed_keeps_its_figures(tmp_path: Path) -> None:
    gone, lost, kept = measured("gone"), measured("lost"), measured("kept")
    new = [failed("lost"), kept, failed("new")]
    baseline.write([gone, lost, kept], tmp_path)
    (tmp_path / "cells" / "notes.json").write_text("mine", encoding="utf-8")
    chosen = baseline.successor([gone, lost, kept], new)
    assert baseline.write(chosen, tmp_path) == 1
    found = {record.labels.compressor: record.status for record in _records(tmp_path)}
    assert found == {"lost": "ok", "kept": "ok", "new": "failed"}
    assert (tmp_path / "cells" / "notes.json").exists()


def _records(folder: Path) -> tuple[Record, ...]:
    return read_all([folder]).records
