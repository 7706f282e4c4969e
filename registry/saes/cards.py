"""The cards of `saes.yaml`: SAEs that a suite can name without saying more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from ..catalog import Catalog

FOLDER = Path(__file__).parent
"""Where the paths of cards start."""


class SaeCard(BaseModel):
    """One SAE worth knowing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    summary: str
    """One line, as `saetransfer list saes` shows it."""
    model: str
    """Card of the model that it was trained on, in `models.yaml`."""
    path: str | None = None
    release: str | None = None
    id: str | None = None
    license: str | None = None
    """None where the authors state none."""
    citation: str | None = None

    def definition(self) -> dict[str, Any]:
        """What a suite would write to define it; a path is relative to `FOLDER`."""
        place = {key: getattr(self, key) for key in ("path", "release", "id") if getattr(self, key) is not None}
        return {"name": self.name, "source": "pretrained", **place}


def _read() -> Catalog[SaeCard]:
    catalog: Catalog[SaeCard] = Catalog("SAE")
    for name, card in yaml.safe_load((FOLDER / "saes.yaml").read_text(encoding="utf-8")).items():
        catalog.register(name, SaeCard(name=name, **card), "saes.yaml")
    return catalog


CARDS = _read()
