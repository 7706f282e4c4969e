"""Checkpoints of SAEs in training, so that one that was killed goes on and ends as if it had not been.

A checkpoint is a folder `at-TOKENS`: for every cohort its mixer (the activations in the buffer, the state of the
generator) and for every training SAELens' own state of the trainer and the weights. It is written beside its place and
then renamed; only the newest stays. One that is damaged is dropped, and the training begins anew.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import RegistryError
from ..files import is_whole, seal
from .trainer import Cohort

_ORDERED = "ordered.json"


@dataclass
class Checkpoints:
    """Where they are kept, and how often one is written."""

    folder: Path
    """Of these trainings alone; whoever has stored the finished SAEs removes it."""
    every_seconds: float = 300.0
    """At least so long passes between two; one is written after the next chunk of activations."""
    _last: float = field(default_factory=time.monotonic, init=False)

    def resume(self, cohorts: Sequence[Cohort], ordered: list[dict[str, Any]]) -> int:
        """Bring cohorts where the newest checkpoint was, and say how many tokens had been read then; 0 without one.

        Args:
            ordered: identities of the SAEs in training.

        Raises:
            RegistryError: the checkpoint is of other SAEs.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        found = self._newest()
        if found is not None and not is_whole(found):
            shutil.rmtree(found)
            found = None
        if found is None:
            return 0
        if json.loads((found / _ORDERED).read_text(encoding="utf-8")) != ordered:
            raise RegistryError(
                f"The checkpoint in '{self.folder}' is of other SAEs than those that are to be trained. "
                "Remove it or name another folder."
            )
        for index, cohort in enumerate(cohorts):
            cohort.load(found / str(index))
        return _tokens(found)

    def after_chunk(self, cohorts: Sequence[Cohort], ordered: list[dict[str, Any]], tokens: int) -> None:
        """Write a checkpoint if it is time for one."""
        if time.monotonic() - self._last < self.every_seconds:
            return
        old, writing = self._newest(), self.folder / "writing"
        shutil.rmtree(writing, ignore_errors=True)
        writing.mkdir()
        (writing / _ORDERED).write_text(json.dumps(ordered), encoding="utf-8")
        for index, cohort in enumerate(cohorts):
            cohort.save(writing / str(index))
        seal(writing)
        writing.rename(self.folder / f"at-{tokens}")
        if old is not None:
            shutil.rmtree(old)
        self._last = time.monotonic()

    def _newest(self) -> Path | None:
        return max(self.folder.glob("at-*"), key=_tokens, default=None)


def _tokens(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("at-"))
