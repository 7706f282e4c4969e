"""Looking up the names of a suite, and saying where in it a mistake stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...registry.errors import RegistryError
from ..errors import UsageError
from .suite import Definition, Place, Suite, SuiteFile


@dataclass(frozen=True)
class Lookup:
    """Of one suite."""

    source: SuiteFile

    @property
    def suite(self) -> Suite:
        """What the file holds."""
        return self.source.suite

    def mistake(self, place: Place, message: str) -> UsageError:
        """The error for something at that place of the file."""
        return self.source.mistake(place, message)

    def located(self, place: Place, resolve: Any, definition: Definition, **arguments: Any) -> Any:
        """What a function of the registry finds for a definition.

        Raises:
            UsageError: what the function says is wrong, with the place.
        """
        try:
            return resolve(definition, folder=self.source.folder, **arguments)
        except RegistryError as error:
            raise self.mistake(place, str(error)) from error

    def check_name(self, place: Place, name: str, taken: Iterable[str]) -> None:
        """Refuse a name that is there already, cannot be seen, or would not fit into MODEL/COMPRESSOR/SAE."""
        if not name.isprintable() or not name.strip():
            raise self.mistake(place, f"a name must be visible characters, got {name!r}.")
        if "/" in name:
            raise self.mistake(place, f"a name may not hold a slash, got '{name}'.")
        if name in taken:
            remedy = "name it once" if place[0] == "tasks" else "give one another name"
            raise self.mistake(place, f"'{name}' is there twice; {remedy}.")
