"""What ran: versions, hardware, commit. Of the machine what can change a figure or a cost; nothing that names it."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from ...leaderboard.record import Hardware

_PACKAGES = ("torch", "transformers", "sae-lens", "bitsandbytes", "torchao", "safetensors", "numpy")


def describe(device: str) -> dict[str, Any]:
    """The environment of a record."""
    return {
        "saetransfer": version("saetransfer"),
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "hardware": hardware().model_dump(mode="json"),
        "threads": torch.get_num_threads(),
        "device": device,
        "gpu": torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else None,
        "cuda": torch.version.cuda,
    }


def hardware() -> Hardware:
    """The machine, in what does not change from one run to the next: memory in whole GiB, since kernels keep some."""
    gpus = range(torch.cuda.device_count())
    return Hardware(
        cpu=_cpu(),
        cores=psutil.cpu_count(logical=False),
        threads=usable_threads(),
        memory_gib=round(psutil.virtual_memory().total / 2**30),
        gpus=tuple(torch.cuda.get_device_name(index) for index in gpus),
        system=f"{platform.system()} {platform.machine()}",
    )


def usable_threads() -> int:
    """Logical CPUs that this process may run on: fewer than the machine has within some containers and batch jobs."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def now() -> str:
    """The time, for records: UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str | None:
    """The commit of this package's own checkout (not of the folder the user stands in); None when it is installed."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(root, "status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
