"""The verdict as GitHub annotations: workflow commands on standard output, ten at most, as GitHub shows no more."""

from __future__ import annotations

from .verdict import Class, Finding, Verdict
from .wording import sentence

MOST = 10
_ERRORS = (Class.REGRESSED, Class.NEWLY_FAILING, Class.MISSING)
_TITLE = "saetransfer"


def render(verdict: Verdict) -> list[str]:
    """One line each: errors for what is worse or gone, warnings for what could not be compared."""
    lines = [_command("error", finding) for finding in verdict.of(*_ERRORS)]
    lines += [_command("warning", finding) for finding in verdict.of(Class.NOT_COMPARABLE)]
    if len(lines) <= MOST:
        return lines
    return [*lines[: MOST - 1], f"::notice title={_TITLE}::{len(lines) - MOST + 1} more; see the job summary"]


def _command(level: str, finding: Finding) -> str:
    return f"::{level} title={_property(f'{_TITLE}: {finding.verdict.value}')}::{_data(sentence(finding))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
