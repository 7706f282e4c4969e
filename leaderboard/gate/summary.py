"""The verdict as Markdown for a job summary or a comment: the digest first, and never more than the place holds.

GitHub takes 1 MiB of summary a step and 64 KiB a comment, and shows nothing of what is longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..boards.markdown import escape
from .verdict import EXIT_FINE, Class, Finding, Verdict
from .wording import HEADERS, MARKS, NUMERIC, notes, row, sections

MARK = "<!-- saetransfer:gate -->"
"""Stands first, so that a comment can be found again and replaced."""
SUMMARY_BYTES = 1_000_000
COMMENT_BYTES = 60_000
_OPEN = (Class.REGRESSED, Class.NEWLY_FAILING, Class.MISSING)
"""Classes that are shown unfolded."""
_REST_BYTES = 200
"""Room for the sentence on what was left out."""


def render(verdict: Verdict, most_bytes: int = SUMMARY_BYTES) -> str:
    """A verdict as Markdown of at most so many bytes in UTF-8; what does not fit is counted."""
    head = "✓" if verdict.exit_code == EXIT_FINE else "✗"
    parts = [MARK, f"### {head} saetransfer: {escape(verdict.digest)}"]
    room = most_bytes - _REST_BYTES - sum(len(part.encode()) + 2 for part in parts)
    left_out = 0
    for one, findings in sections(verdict):
        text, told = _section(one, findings, room)
        left_out += len(findings) - told
        parts += [text] if told else []
        room -= len(text.encode()) + 2 if told else 0
    if known := notes(verdict):
        text, told = _list(known, room)
        left_out += len(known) - told
        parts += [text] if told else []
    if left_out:
        parts.append(f"{left_out} more did not fit here; the JSON report holds all of them.")
    return "\n\n".join(parts) + "\n"


def _section(one: Class, findings: Sequence[Finding], room: int) -> tuple[str, int]:
    """The table of one class in so many bytes, and how many findings it holds."""
    title = f"{MARKS.get(one, '')} {one.value} ({len(findings)})".strip()
    head = [f"#### {title}", ""] if one in _OPEN else ["<details>", f"<summary>{title}</summary>", ""]
    foot = [] if one in _OPEN else ["", "</details>"]
    head += [_line(HEADERS), _line(["---:" if numeric else "---" for numeric in NUMERIC])]
    rows = list(_fitting((_line(map(escape, row(finding))) for finding in findings), room, [*head, *foot]))
    return "\n".join([*head, *rows, *foot]), len(rows)


def _list(items: Sequence[str], room: int) -> tuple[str, int]:
    lines = list(_fitting((f"- {escape(note)}" for note in items), room, []))
    return "\n".join(lines), len(lines)


def _fitting(lines: Iterator[str], room: int, frame: Sequence[str]) -> Iterator[str]:
    """As many lines as fit into so many bytes beside their frame."""
    used = sum(len(line.encode()) + 1 for line in frame)
    for line in lines:
        used += len(line.encode()) + 1
        if used > room:
            return
        yield line


def _line(cells: Iterator[str] | Sequence[str] | map[str]) -> str:
    return f"| {' | '.join(cells)} |"
