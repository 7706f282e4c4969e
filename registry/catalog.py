"""The one registry class: register, look up, "did you mean", plug-ins by entry point.

Entries are registered explicitly; a second entry of one name is refused with both origins. Entry points are only
loaded when their name is asked for, so that a broken plug-in cannot stop a run that does not use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from .errors import RegistryError, unknown

T = TypeVar("T")


class Catalog(Generic[T]):
    """Named entries of one kind.

    Args:
        kind: what an entry is called in messages, for example `compressor`.
        entry_point_group: group under which other packages may register entries; None for none.
        from_entry_point: turns what such an entry point loads into an entry.
    """

    def __init__(
        self,
        kind: str,
        entry_point_group: str | None = None,
        from_entry_point: Callable[[str, object], T] | None = None,
    ) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._origins: dict[str, str] = {}
        self._group = entry_point_group
        self._from_entry_point = from_entry_point

    def register(self, name: str, entry: T, origin: str) -> None:
        """Add an entry; `origin` says where it comes from, for the message that refuses a second one."""
        if name in self._entries:
            raise RegistryError(
                f"The {self.kind} '{name}' from {origin} is already registered by {self._origins[name]}. Rename one."
            )
        self._entries[name] = entry
        self._origins[name] = origin

    def get(self, name: str) -> T:
        """The entry of that name.

        Raises:
            RegistryError: no such entry; the message names the closest one and all there are.
        """
        if name in self._entries:
            return self._entries[name]
        plugins = self._plugins()
        if name in plugins and self._from_entry_point is not None:
            try:
                loaded = plugins[name].load()
            except Exception as error:  # whatever the plug-in's own code does wrong when it is imported
                origin = plugins[name].value
                raise RegistryError(f"The {self.kind} '{name}' of plug-in {origin} does not load: {error}") from error
            self.register(name, self._from_entry_point(name, loaded), plugins[name].value)
            return self._entries[name]
        raise unknown(self.kind, name, self)

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._plugins()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._entries, *self._plugins()}))

    def _plugins(self) -> dict[str, EntryPoint]:
        if self._group is None:
            return {}
        return {point.name: point for point in entry_points(group=self._group)}
