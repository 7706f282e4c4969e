"""`saetransfer publish`: a leaderboard as a static site, and, when asked, as a data set on the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ...leaderboard.publishing import site
from ..errors import UsageError
from ..measuring.definitions import definitions


def publish(folders: Sequence[Path], to: Path, title: str, hub: str | None) -> None:
    """Write the site of some records to a folder; push it to a data set where one is named."""
    files = site.build(folders, definitions(), title)
    removed = site.write(files, to)
    told = f", {removed} old ones taken out" if removed else ""
    console = Console(stderr=True)
    console.print(f"{len(files)} files -> {to}{told}", markup=False, highlight=False)
    if hub is not None:
        console.print(f"pushed to {_push(to, sorted(files), hub, title)}", markup=False, highlight=False)


def _push(folder: Path, files: Sequence[str], repository: str, title: str) -> str:
    """Make the data set what the site is; returns where it is to be seen."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HFValidationError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]  # that of httpx or of httpx2, as its version has it
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    api = HfApi()
    try:
        made = api.create_repo(repository, repo_type="dataset", exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            repo_type="dataset",
            folder_path=folder,
            allow_patterns=[*files, site.MANIFEST],
            delete_patterns="cells/*.json",
            commit_message=f"saetransfer: {title}",
        )
    except (HTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled) as error:
        raise UsageError(
            f"The site lies in {folder}, but could not be pushed to {repository}: {error} "
            "Is the name OWNER/NAME, are you logged in (`hf auth login`), and may you write there?"
        ) from error
    return str(made)
