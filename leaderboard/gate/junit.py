"""The verdict as JUnit XML, as CI systems show it: a suite for each cell, a case for each figure.

What has regressed is a failure, what has newly failed or is gone is an error, what could not be compared is skipped;
everything else has passed. There is no standard: this is the form that Jenkins, GitLab and the common actions of GitHub
read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from xml.etree import ElementTree

from ..text import printable
from .verdict import Class, Finding, Verdict
from .wording import row, sentence

_TAGS = {
    Class.REGRESSED: "failure",
    Class.NEWLY_FAILING: "error",
    Class.MISSING: "error",
    Class.NOT_COMPARABLE: "skipped",
}
_COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def render(verdict: Verdict) -> str:
    """A verdict as an XML document."""
    cells: dict[str, list[Finding]] = defaultdict(list)
    for finding in verdict.findings:
        cells[printable(finding.cell)].append(finding)
    root = ElementTree.Element("testsuites", {"name": "saetransfer compare", **_counts(verdict.findings)})
    for cell, findings in cells.items():
        suite = ElementTree.SubElement(root, "testsuite", {"name": cell, **_counts(findings)})
        for finding in findings:
            _case(suite, finding)
    ElementTree.indent(root)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(root, encoding='unicode')}\n"


def _counts(findings: Sequence[Finding]) -> dict[str, str]:
    tags = [_TAGS.get(finding.verdict) for finding in findings]
    return {"tests": str(len(findings)), **{name: str(tags.count(tag)) for name, tag in _COUNTED.items()}}


def _case(suite: ElementTree.Element, finding: Finding) -> None:
    what = row(finding)
    case = ElementTree.SubElement(suite, "testcase", classname=what.cell, name=what.metric)
    tag = _TAGS.get(finding.verdict)
    if tag == "skipped":
        ElementTree.SubElement(case, tag, message=what.note)
    elif tag is not None:
        told = ElementTree.SubElement(case, tag, type=finding.verdict.value, message=sentence(finding))
        told.text = sentence(finding)
    elif finding.step is not None:
        ElementTree.SubElement(case, "system-out").text = sentence(finding)
