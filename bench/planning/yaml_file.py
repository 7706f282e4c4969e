"""YAML as people mean it: the core schema of YAML 1.2, and the lines on which things stand.

PyYAML follows YAML 1.1, where `on`, `off`, `yes` and `no` are booleans (`on: state` would have the key True), `1e-3` is
text, `2:4` is the number 124, in sixties, and `2026-01-02` is no text. Keys that stand twice in a mapping are refused;
PyYAML would keep the last one silently. So is what a few lines of aliases blow up to more than anybody writes.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """`yaml.SafeLoader` with the scalars of YAML 1.2."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping, unless a key stands in it twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key.value}' stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


MOST_VALUES = 2_000_000
"""Values in a file, with each alias counted as what it stands for."""
_SHOWN = 60
_BOOLEAN, _INTEGER, _FLOAT, _TIME = (f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float", "timestamp"))
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOLEAN, _INTEGER, _FLOAT, _TIME)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOLEAN, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_INTEGER, re.compile(r"^[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"^[-+]?(?:\.[0-9]+|[0-9][0-9_]*\.[0-9_]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+.0123456789"),
)


def parse(text: str) -> Any:
    """The content of a YAML text.

    Raises:
        yaml.YAMLError: no YAML, a key twice in a mapping, null characters, nested too deeply, or aliases that blow it
            up.
    """
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - derived from SafeLoader
        _size(content, {})
    except RecursionError as error:
        raise yaml.YAMLError("nested too deeply, or without end") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # what PyYAML makes of `!!int word`
        raise yaml.YAMLError(f"a value does not fit its tag, or is out of range: {error}") from error
    return content


def _size(value: Any, known: dict[int, int]) -> int:
    """How many values there are when aliases are written out; `known` are those of parts that have been seen."""
    if not isinstance(value, dict | list):
        if isinstance(value, str) and "\0" in value:
            raise yaml.YAMLError(f"a text holds a null character: {value[:_SHOWN]!r}")
        return 1
    if id(value) not in known:
        size = 1 + sum(_size(part, known) for part in (value.values() if isinstance(value, dict) else value))
        if size > MOST_VALUES:
            raise yaml.YAMLError(f"its aliases stand for more than {MOST_VALUES:,} values")
        known[id(value)] = size
    return known[id(value)]


def line_of(text: str, place: tuple[str | int, ...]) -> int | None:
    """The line, from 1, of the deepest part of a place (keys and positions from the top) that the text has."""
    node = yaml.compose(text, Loader=_Loader)
    line = None
    for part in place:
        child = _child(node, part)
        if child is None:
            return line
        line, node = child
    return line


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        pairs = ((key.start_mark.line + 1, value) for key, value in node.value if key.value == str(part))
        return next(pairs, None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None
