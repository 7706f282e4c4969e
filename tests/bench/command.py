"""The command line, called in the test's own process, so that the server of workers is started once for all tests."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from saetransfer.bench import cli


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def saetransfer(folder: Path, *arguments: str) -> Finished:
    """Run a command in a folder, with a cache of that folder's own."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        _inside(folder),
        mock.patch.dict(os.environ, {"SAETRANSFER_CACHE": str(folder / "cache")}),
        mock.patch.object(sys, "argv", ["saetransfer", *arguments]),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        code: object = 0
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code
    return Finished(int(str(code or 0)), stdout.getvalue(), stderr.getvalue())


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
