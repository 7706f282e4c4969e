"""The tolerances that a user gives the gate: in a YAML file, on the command line, or both."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from ...leaderboard.gate import tolerance
from ...leaderboard.gate.tolerance import Tolerance, Tolerances
from ..errors import UsageError
from ..planning import yaml_file

_EXAMPLE = "perplexity.transfer_gap: 0.005, or cost.*: 20%"


def read(file: Path | None, given: Sequence[str], known: Collection[str]) -> Tolerances:
    """The tolerances of a file and, which win, those of the command line.

    Args:
        file: a mapping of metrics, or of patterns that match some, to tolerances.
        given: `METRIC=TOLERANCE` each.
        known: names of all metrics.

    Raises:
        UsageError: a metric that nobody knows, or no tolerance; says where it stands, what is allowed, what was meant.
    """
    found: dict[str, Tolerance | None] = {}
    for where, metric, text in (*_of_file(file), *map(_of_option, given)):
        if not any(fnmatchcase(name, metric) for name in known):
            raise UsageError(
                f"{where}: Unknown metric '{metric}'.{_guess(metric, known)} See `saetransfer list metrics`."
            )
        try:
            parsed = tolerance.parse(text)
        except ValueError as error:
            raise UsageError(f"{where}: {error}") from None
        found.pop(metric, None)  # the order tells which pattern wins
        found[metric] = parsed
    return Tolerances(found)


def _guess(metric: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(metric, known, n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def _of_file(file: Path | None) -> Iterator[tuple[str, str, str]]:
    if file is None:
        return
    try:
        text = file.read_text(encoding="utf-8")
        content = yaml_file.parse(text)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{file}: no YAML: {error}.") from error
    if not isinstance(content, dict):
        raise UsageError(f"{file}: expected a mapping of metrics to tolerances, such as {_EXAMPLE}.")
    for metric, value in content.items():
        yield f"{file}:{yaml_file.line_of(text, (str(metric),))}", str(metric), str(value)


def _of_option(given: str) -> tuple[str, str, str]:
    metric, found, text = given.partition("=")
    if not found:
        raise UsageError(
            f"--tolerance takes METRIC=TOLERANCE, for example perplexity.transfer_gap=0.005; got '{given}'."
        )
    return f"--tolerance {given}", metric.strip(), text
