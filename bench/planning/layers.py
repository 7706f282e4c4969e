"""One line of a suite for the SAEs of many layers: `layers: 0-11`, and `{layer}` where the number belongs.

- {name: "resid-{layer}", layers: 0-11, source: pretrained, release: NAME, id: "blocks.{layer}.hook_resid_post"}
- {name: "half-{layer}", layers: 0-11, source: pruned, base: "resid-{layer}", method: wanda, sparsity: 0.5}
"""

from __future__ import annotations

import re
from typing import Any

from ...registry.errors import RegistryError
from .suite import Definition

_KEY, _MARK = "layers", "{layer}"
_MOST = 1000
"""Above any model's number of layers: more is a slip of the pen."""


def expanded(definition: Definition) -> list[Definition]:
    """The definitions that one line of a suite stands for: itself, unless it has `layers`.

    Raises:
        RegistryError: `layers` that are no layers, a name that would be the same for all of them, a `{layer}` without
            `layers`.
    """
    if isinstance(definition, str) or _KEY not in definition:
        if marked := _marked(definition):
            raise RegistryError(f"'{marked}' holds {_MARK}, but nothing says which: give `{_KEY}`, for example 0-11.")
        return [definition]
    one = {key: value for key, value in definition.items() if key != _KEY}
    layers = _layers(definition[_KEY])
    if len(layers) > 1 and _MARK not in str(one.get("name")):
        raise RegistryError(f"'{one.get('name')}' would be the name at every layer: put {_MARK} into it.")
    return [{key: _at(value, layer) for key, value in one.items()} for layer in layers]


def _marked(definition: Definition) -> str | None:
    values = [definition] if isinstance(definition, str) else definition.values()
    return next((value for value in values if isinstance(value, str) and _MARK in value), None)


def _at(value: Any, layer: int) -> Any:
    return value.replace(_MARK, str(layer)) if isinstance(value, str) else value


def _layers(written: Any) -> list[int]:
    """`0-11`, `[0, 6, 11]`, `[0-3, 8]` or `5`, in the order in which they are written."""
    parts = written if isinstance(written, list) else [written]
    layers: list[int] = []
    for part in parts:
        found = None if isinstance(part, bool) else re.fullmatch(r"(\d+)(?:\s*-\s*(\d+))?", str(part).strip())
        if found is None:
            raise RegistryError(f"`{_KEY}` are numbers and ranges, as 0-11 or [0, 6, 9-11]; got {part!r}.")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first or last >= _MOST:
            raise RegistryError(f"`{_KEY}` go from a lower to a higher number (below {_MOST}); got {part!r}.")
        layers += range(first, last + 1)
    if not layers or len(set(layers)) < len(layers):
        raise RegistryError(f"`{_KEY}` name each layer once, and one at least; got {written!r}.")
    return layers
