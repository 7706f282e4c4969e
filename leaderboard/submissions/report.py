"""What a contributor is told about records that were handed in, as Markdown for a comment."""

from __future__ import annotations

from ..boards.markdown import escape
from ..gate.summary import COMMENT_BYTES
from ..text import printable
from .validate import Report

MARK = "<!-- saetransfer:validate -->"
_REST_BYTES = 100


def render(found: Report, most_bytes: int = COMMENT_BYTES) -> str:
    """A report of at most so many bytes in UTF-8; what does not fit is counted."""
    lines = [MARK, "", f"### {'✗' if found.n_errors else '✓'} saetransfer: {escape(found.digest)}", ""]
    room = most_bytes - _REST_BYTES - sum(len(line.encode()) + 1 for line in lines)
    told = [
        f"- {escape(printable(str(path)))}: *{mistake.level}*: {escape(mistake.what)}; {escape(mistake.remedy)}"
        for path, mistakes in found.found.items()
        for mistake in mistakes
    ]
    for index, line in enumerate(told):
        room -= len(line.encode()) + 1
        if room < 0:
            return "\n".join([*lines, f"- {len(told) - index} more did not fit here."]) + "\n"
        lines.append(line)
    return "\n".join(lines) + "\n"
