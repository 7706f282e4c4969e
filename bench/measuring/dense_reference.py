"""What the dense state of a model leaves in the cache for the states that are compared with it.

Its final hidden states and, where tasks compare features, its activations at the sites of all SAEs; and what labelled
tasks have fitted on it with every frozen SAE.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...registry.saes.entry import SaeEntry
from ...registry.sites import Site
from ...registry.windows import Windows
from ...tasks.examples import Examples
from ...tasks.task import Fitted, LabelledTask
from ..planning.grid import Plan, StatePlan
from ..running.artifact_keys import HIDDEN
from ..running.artifacts import Artifacts
from ..running.stock import Stock
from .disk_array import DiskArray
from .reading import Reading

_FITTED = "fitted.npz"


class DenseReference:
    """Keeps and finds the reference of one model under one BOS convention."""

    def __init__(self, plan: Plan, state: StatePlan, artifacts: Artifacts, device: str, prepend_bos: bool) -> None:
        self._plan = plan
        self._state = state
        self._artifacts = artifacts
        self._bos = prepend_bos
        self._stock = Stock(plan, state, artifacts, device)
        self._keys = self._stock.keys
        self.sites: list[Site] = self._stock.compared_sites(prepend_bos)
        """Where the activations of the dense state are needed."""
        self.origins: list[SaeEntry] = self._stock.fitted_origins(prepend_bos)
        """Frozen SAEs with which labelled tasks are fitted on the dense state."""

    @property
    def readings(self) -> list[Mapping[str, Any]]:
        """Keys of the arrays that it leaves."""
        return [self._keys.reading(name, self._bos) for name in self._widths()]

    @property
    def fits(self) -> list[Mapping[str, Any]]:
        """Keys of what labelled tasks have fitted."""
        return [self._keys.fit(task, entry, self._bos) for task in self._plan.labelled_tasks for entry in self.origins]

    def has_fit(self, task: LabelledTask, entry: SaeEntry) -> bool:
        """Whether a task's fit with a frozen SAE is kept."""
        return self._stock.has_fit(task, entry, self._bos)

    def keep(self, folder: Path) -> None:
        """Hand over the arrays that the dense state's reading has left in `folder`."""
        keys = {name: self._keys.reading(name, self._bos) for name in self._widths()}
        with self._artifacts.making(keys.values()):
            for name, key in keys.items():
                if self._artifacts.find(key) is None:
                    with self._artifacts.create(key) as place:
                        (folder / f"{name}.bin").rename(place / f"{name}.bin")

    def reading(self, text: Windows) -> Reading:
        """The arrays of the dense model.

        Raises:
            LookupError: the dense state, which is run before all others, has not left them.
        """
        dtype = getattr(torch, self._state.model.dtype)
        arrays = {}
        for name, width in self._widths().items():
            folder = self._found(self._keys.reading(name, self._bos))
            arrays[name] = DiskArray(folder / f"{name}.bin", (text.n_positions, width), dtype)
        return Reading(text, arrays)

    def keep_fit(self, task: LabelledTask, entry: SaeEntry, examples: Mapping[str, Examples]) -> None:
        """Fit a task on the dense state, with a frozen SAE, and keep that, unless somebody else just did."""
        key = self._keys.fit(task, entry, self._bos)
        with self._artifacts.making([key]):
            if self._artifacts.find(key) is None:
                with self._artifacts.create(key) as place:
                    np.savez(place / _FITTED, allow_pickle=False, **task.fit(examples))

    def kept_fit(self, task: LabelledTask, entry: SaeEntry) -> Fitted:
        """What a task has fitted on the dense state.

        Raises:
            LookupError: the dense state has not left it.
        """
        with np.load(self._found(self._keys.fit(task, entry, self._bos)) / _FITTED, allow_pickle=False) as arrays:
            return dict(arrays)

    def _found(self, key: Mapping[str, Any]) -> Path:
        folder = self._artifacts.find(key)
        if folder is None:
            raise LookupError(f"There is no reading of the dense {self._state.model.name}: see why its cells failed.")
        return folder

    def _widths(self) -> dict[str, int]:
        config = self._state.model.config
        return {HIDDEN: config.hidden_size} | {site.name: site.width(config) for site in self.sites}
