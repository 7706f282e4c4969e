"""What is shown: records and the boards made of them. Knows nothing of the other folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def load(*folders: str | Path) -> pd.DataFrame:
    """All records below some folders as a table, one row a figure: see `leaderboard.frame.load`."""
    # pandas takes a while to import, and most of what reads records does without it.
    from .frame import load

    return load(*folders)
