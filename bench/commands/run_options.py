"""What `saetransfer run` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...leaderboard.store import slug

Rerun = Literal["missing", "failed", "all"]
ExecutorName = Literal["local", "ray"]


@dataclass(frozen=True)
class RunOptions:
    """Options of `saetransfer run`, as its help explains them."""

    out: Path | None
    only: str | None
    rerun: Rerun
    slots: int | None
    device: str | None
    overrides: tuple[str, ...]
    dry_run: bool
    timeout_seconds: float | None = None
    trusts_remote_code: bool = False
    executor: ExecutorName = "local"
    address: str | None = None

    def folder(self, suite_name: str) -> Path:
        """Where the records of a suite go."""
        return self.out or Path("runs") / slug(suite_name)
