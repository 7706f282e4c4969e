"""Definitions of SAEs as a suite writes them, checked, with mistakes put in words that a user can act on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from transformers import PretrainedConfig

from ..errors import RegistryError
from ..mistakes import explain
from ..sites import Site, parse_site
from .entry import SaeEntry


def _no_boolean(value: object) -> object:
    """YAML reads `yes` and `on` as booleans, which Python would take for the numbers 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not yes or no")
    return value


Number = Annotated[float, BeforeValidator(_no_boolean)]
Count = Annotated[int, BeforeValidator(_no_boolean), Field(gt=0)]
Seed = Annotated[int, BeforeValidator(_no_boolean), Field(ge=0)]
Positive = Annotated[Number, Field(gt=0, allow_inf_nan=False)]


class Form(BaseModel):
    """What every definition has; each source adds its own keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)


@dataclass(frozen=True)
class Surroundings:
    """What a definition may refer to."""

    folder: Path
    """Relative paths start here."""
    named: Mapping[str, SaeEntry]
    """SAEs defined earlier."""
    config: PretrainedConfig
    """Of the model whose activations the SAE reads."""
    prepend_bos_default: bool

    def site(self, name: str, sae: str) -> Site:
        """The site of that name in the model.

        Raises:
            RegistryError: no such site; the message names the SAE.
        """
        try:
            return parse_site(name, self.config)
        except RegistryError as error:
            raise RegistryError(f"SAE '{sae}': {error}") from error

    def check_width(self, sae: str, site: Site, d_in: int) -> None:
        """Refuse an SAE whose inputs are not as wide as the activations at its site.

        Raises:
            RegistryError: with both widths.
        """
        width = site.width(self.config)
        if d_in != width:
            raise RegistryError(
                f"SAE '{sae}' reads {d_in} channels, but '{site.name}' of this model ({self.config.model_type}) has "
                f"{width}. It belongs to another model or to another site."
            )


F = TypeVar("F", bound=Form)


def check(form: type[F], definition: Mapping[str, Any]) -> F:
    """The definition as that form.

    Raises:
        RegistryError: what is wrong with it, with what is allowed.
    """
    try:
        return form.model_validate(dict(definition))
    except ValidationError as error:
        raise RegistryError(f"SAE {explain(error, form, definition)}") from error
