"""The command `saetransfer doctor`: what is installed, on what hardware, and whether it works; for bug reports.

Nothing in it names the machine or its user.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console

from ...registry import credentials, hub
from ..cli import CELLS_FAILED
from ..console import console as make_console
from ..running import artifacts, environment
from . import installed, run_command
from .installed import Package
from .self_test import SelfTest, self_test

_LEAST_FREE_BYTES = 2**30
"""Below that, on the disk of the cache or in memory, even small runs may stop half-way."""


def run(as_json: bool) -> int:
    """`saetransfer doctor`; returns the exit code."""
    report = examine()
    console = make_console()
    if as_json:
        console.file.write(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    else:
        _show(report, console)
    return CELLS_FAILED if report["problems"] else 0


def examine() -> dict[str, Any]:
    """Everything there is to know, as JSON; under `problems` what should work and does not."""
    device = run_command.chosen_device(None)
    free = {
        "disk_bytes": shutil.disk_usage(_existing(artifacts.default_folder())).free,
        "memory_bytes": psutil.virtual_memory().available,
    }
    packages, tested = installed.always_needed(), self_test(device)
    return {
        "environment": environment.describe(device),
        "packages": {one.name: one.found for one in packages},
        "extras": [{**asdict(one), "installed": one.is_installed} for one in installed.extras()],
        "gpus": [_gpu(index) for index in range(torch.cuda.device_count())],
        "free": free,
        "hub_is_reachable": hub.is_reachable(),
        "self_test": asdict(tested),
        "problems": [credentials.scrub(problem) for problem in _problems(packages, free, tested)],
    }


def _problems(packages: Iterable[Package], free: Mapping[str, int], tested: SelfTest) -> Iterator[str]:
    for one in packages:
        if not one.fits:
            yield f"{one.name} {one.found or 'is missing'}: {one.name}{one.needed} is needed"
    for key, where in (("disk_bytes", "on the disk of the cache"), ("memory_bytes", "in memory")):
        if free[key] < _LEAST_FREE_BYTES:
            yield f"only {free[key] / 2**20:.0f} MiB are free {where}"
    if tested.problem is not None:
        yield f"self-test: {tested.problem}"


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.absolute().parents) if one.is_dir())


def _gpu(index: int) -> dict[str, Any]:
    free, total = torch.cuda.mem_get_info(index)
    major, minor = torch.cuda.get_device_capability(index)
    return {
        "name": torch.cuda.get_device_name(index),
        "free_bytes": free,
        "bytes": total,
        "capability": f"{major}.{minor}",
    }


def _show(report: dict[str, Any], console: Console) -> None:
    for name, said in _lines(report):
        console.print(f"{name:<18} {said}", markup=False, highlight=False, soft_wrap=True)
    for problem in report["problems"]:
        console.print(f"problem: {problem}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def _lines(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    about, machine = report["environment"], report["environment"]["hardware"]
    commit = about["commit"] or "installed"
    yield "saetransfer", f"{about['saetransfer']} ({commit}), Python {about['python']}, {machine['system']}"
    yield "packages", ", ".join(f"{name} {found}" for name, found in report["packages"].items())
    yield "processor", f"{machine['cpu']}, {machine['threads']} threads, {machine['memory_gib']} GiB"
    gpus = (f"{one['name']} ({_gib(one['free_bytes'])} of {_gib(one['bytes'])} free)" for one in report["gpus"])
    yield "GPUs", "; ".join(gpus) or "none that PyTorch sees"
    free = report["free"]
    yield "free", f"{_gib(free['disk_bytes'])} of disk for the cache, {_gib(free['memory_bytes'])} of memory"
    away = "not reachable: models and texts come from its cache, or from folders"
    yield "hub", "reachable" if report["hub_is_reachable"] else away
    for extra in report["extras"]:
        missing = f"not installed; pip install 'saetransfer[{extra['name']}]' adds "
        yield f"extra {extra['name']}", ("" if extra["installed"] else missing) + extra["adds"]
    tested = report["self_test"]
    yield (
        "self-test",
        f"{'failed' if tested['problem'] else 'passed'} in {tested['seconds']:.1f} s on {about['device']}",
    )


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB"
