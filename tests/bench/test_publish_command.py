"""`saetransfer publish` through the real command line, with a hub that only remembers what it was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]

from saetransfer.leaderboard import store
from tests.bench.command import saetransfer
from tests.leaderboard.examples import grid


class Hub:
    """Stands for `HfApi`."""

    asked: list[tuple[str, dict[str, Any]]]
    refuses = False

    def create_repo(self, repo_id: str, **arguments: Any) -> str:
        if self.refuses:
            raise HTTPError("no such host")
        self.asked.append(("create_repo", {"repo_id": repo_id, **arguments}))
        return f"https://hub/datasets/{repo_id}"

    def upload_folder(self, **arguments: Any) -> None:
        self.asked.append(("upload_folder", arguments))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[Hub]:
    Hub.asked, Hub.refuses = [], False
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    return Hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for record in grid():
        store.write(record, tmp_path / "records")
    return tmp_path


def test_a_site_is_written_and_nothing_is_pushed_unless_asked(folder: Path, hub: type[Hub]) -> None:
    found = saetransfer(folder, "publish", "records", "--to", "site")
    assert found.returncode == 0, found.stderr
    assert (folder / "site" / "index.html").exists()
    assert hub.asked == []


def test_the_hub_is_asked_for_a_data_set_with_the_files_of_the_site(folder: Path, hub: type[Hub]) -> None:
    (folder / "site").mkdir()
    (folder / "site" / "private.txt").write_text("mine")
    found = saetransfer(folder, "publish", "records", "--to", "site", "--hub", "me/board")
    assert found.returncode == 0, found.stderr
    assert "pushed to https://hub/datasets/me/board" in found.stderr
    (first, made), (second, pushed) = hub.asked
    assert (first, second) == ("create_repo", "upload_folder")
    assert made["repo_type"] == pushed["repo_type"] == "dataset"
    assert {"index.html", "README.md", "figures.csv"} <= set(pushed["allow_patterns"])
    assert "private.txt" not in pushed["allow_patterns"]


def test_a_hub_that_cannot_be_reached_is_exit_code_2_and_the_site_is_there(folder: Path, hub: type[Hub]) -> None:
    hub.refuses = True
    found = saetransfer(folder, "publish", "records", "--to", "site", "--hub", "me/board")
    assert found.returncode == 2
    assert "could not be pushed to me/board: no such host" in found.stderr
    assert (folder / "site" / "index.html").exists()
