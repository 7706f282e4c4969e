"""The wheel holds what the folders hold: a folder that pyproject.toml forgets works in a checkout and nowhere else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("bench", "registry", "tasks", "leaderboard")
DOCUMENTS = (
    "leaderboard/records/",
    "leaderboard/LEADERBOARD.md",
    "leaderboard/index.html",
    "leaderboard/example.ipynb",
    "leaderboard/page.png",
)
"""What the repository shows and the package does not need: the project's own board, a notebook, a picture."""


@pytest.fixture(scope="module")
def sources() -> list[str]:
    """Every file of the repository that git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return sorted(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


@pytest.fixture(scope="module")
def wheel_names(sources: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in a wheel built from a copy of those."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for name in sources:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    built = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_holds_every_file_of_the_folders(sources: list[str], wheel_names: list[str]) -> None:
    shipped = [name for name in sources if not name.startswith(DOCUMENTS)]
    expected = {f"saetransfer/{name}" for name in shipped if name.startswith(tuple(f"{folder}/" for folder in FOLDERS))}
    held = {name for name in wheel_names if name.startswith("saetransfer/")}
    assert held == expected


def test_the_wheel_holds_nothing_else(wheel_names: list[str]) -> None:
    strangers = [name for name in wheel_names if not name.startswith("saetransfer/") and ".dist-info/" not in name]
    assert strangers == []
