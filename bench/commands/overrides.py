"""`--set KEY=VALUE`: changes to nested content from the command line; keys are dotted, values are YAML."""

from __future__ import annotations

from typing import Any

import yaml

from ..errors import UsageError
from ..planning import yaml_file


def apply(content: dict[str, Any], override: str) -> None:
    """Make the change that an override asks for.

    Raises:
        UsageError: no `KEY=VALUE`, no YAML, or a key that leads nowhere.
    """
    key, found, value = override.partition("=")
    if not found or not key:
        raise UsageError(f"--set takes KEY=VALUE with a value in YAML, for example seed=1; got '{override}'.")
    *parents, last = key.split(".")
    target: Any = content
    for part in parents:
        target = _step(target, part, override)
    try:
        parsed = yaml_file.parse(value)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {override}: the value is no YAML.") from error
    if isinstance(target, list):
        _step(target, last, override)
        target[int(last)] = parsed
    elif isinstance(target, dict):
        target[last] = parsed
    else:
        raise UsageError(f"--set {override}: '{last}' is no part of {target!r}.")


def covers(override: str, place: tuple[str | int, ...]) -> bool:
    """Whether what stands at that place came from the override."""
    keys = override.partition("=")[0].split(".")
    return [str(part) for part in place[: len(keys)]] == keys


def _step(target: Any, part: str, override: str) -> Any:
    if isinstance(target, dict):
        return target.setdefault(part, {})
    if isinstance(target, list):
        if part.isascii() and part.isdecimal() and int(part) < len(target):
            return target[int(part)]
        raise UsageError(f"--set {override}: '{part}' is no position in a list of {len(target)} (counted from 0).")
    raise UsageError(f"--set {override}: there is nothing below {target!r} that '{part}' could name.")
