"""What a format is: files, and their translation into what SAELens would have written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

Raw = Mapping[str, Any]
"""What a weights file holds, by name: tensors, and what else the format puts beside them."""


@dataclass(frozen=True)
class Format:
    """One library's way of keeping an SAE."""

    name: str
    weights: str
    """The weights' file in an SAE's folder; `*.ending` where the file alone is the SAE."""
    settings: str | None
    """The JSON file beside it; None where there is none."""
    describe: Callable[[Path, Mapping[str, Any], Raw], dict[str, Any]]
    """From the SAE's path, its settings and its weights (on the meta device: shapes only), a `cfg.json` of SAELens.

    Raises:
        RegistryError: something that SAELens has no SAE for.
    """
    convert: Callable[[Raw, str], dict[str, Tensor]]
    """The tensors of an SAE of that architecture, named and shaped as in SAELens; works on the meta device."""
    needs: tuple[tuple[str, ...], ...]
    """Tensors without which neither works: one of each group."""

    def holds(self, path: Path) -> bool:
        """Whether an SAE of this format may be there."""
        if self.weights.startswith("*"):
            return path.is_file() and path.match(self.weights)
        return (path / self.weights).is_file() and (self.settings is None or (path / self.settings).is_file())

    def weights_file(self, path: Path) -> Path:
        """The file with the weights of the SAE at that path."""
        return path if self.weights.startswith("*") else path / self.weights

    def files(self) -> str:
        """What a user would recognise it by."""
        if self.weights.startswith("*"):
            return f"a single {self.weights[1:]} file"
        return " and ".join(name for name in (self.settings, self.weights) if name is not None)
