"""One small world for all tests of the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.world import make_world


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; read only."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(shared_world: Path, tmp_path: Path) -> Path:
    """A folder of the test's own that looks like the shared world."""
    for part in ("model", "sae", "stories.txt"):
        (tmp_path / part).symlink_to(shared_world / part)
    return tmp_path
