"""Another program, run to its end or a time limit, never through a shell, and gone with all its children after that."""

from __future__ import annotations

import codecs
import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ...credentials import scrub

_TAIL_LINES = 15
_TAIL_CHARACTERS = 4000
"""Of the program's output, what a message quotes."""
_LOOK_SECONDS = 0.2
"""How often to see whether a program is gone whose children keep its output open."""
_CHUNK_BYTES = 1 << 16
_GUARD = Path(__file__).with_name("guard.py")


class CommandFailed(Exception):
    """A program that did not do what it was started for; the text ends with its last lines of output."""


def run(command: Sequence[str], folder: Path, timeout_seconds: float) -> str:
    """Run a program in `folder`; what it says goes to this process's standard output as it comes.

    Returns:
        Its last lines of output, quoted for a message.

    Raises:
        CommandFailed: there is no such program, it ends with another exit code than 0, or it takes too long.
    """
    program = shutil.which(command[0])
    if program is None:
        raise CommandFailed(f"There is no program '{command[0]}' that can be run here.")
    read, write = os.pipe()
    output = _Output(read)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_GUARD), program, *command[1:]],
        cwd=folder,
        stdin=subprocess.PIPE,  # closes when this process dies: see guard.py
        stdout=write,
        stderr=write,
        start_new_session=True,
    )
    os.close(write)
    with process, contextlib.closing(output):
        try:
            code = _follow(process, output, time.monotonic() + timeout_seconds)
        finally:
            _end(process)
    if code is None:
        raise CommandFailed(f"'{command[0]}' took more than {timeout_seconds:g} s and was ended. {output.quoted()}")
    if code != 0:
        raise CommandFailed(f"'{command[0]}' ended with exit code {code}. {output.quoted()}")
    return output.quoted()


class _Output:
    """What a program says: passed on as it comes, and its end kept."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._selector = selectors.DefaultSelector()
        self._selector.register(pipe, selectors.EVENT_READ)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._tail = ""
        self.is_open = True
        """Whether something may still come."""

    def pass_on(self, wait_seconds: float) -> bool:
        """Pass on what is there, after waiting for it at most that long; whether there was something."""
        if not self.is_open or not self._selector.select(wait_seconds):
            return False
        chunk = os.read(self._pipe, _CHUNK_BYTES)
        self.is_open = bool(chunk)
        text = self._decoder.decode(chunk)
        sys.stdout.write(text)
        sys.stdout.flush()
        self._tail = (self._tail + text)[-_TAIL_CHARACTERS:]
        return self.is_open

    def quoted(self) -> str:
        """The last lines, without credentials."""
        lines = [line.rstrip() for line in scrub(self._tail).splitlines() if line.strip()][-_TAIL_LINES:]
        return "Its last lines:\n" + "\n".join(lines) if lines else "It said nothing."

    def close(self) -> None:
        """Pass on the rest, without waiting for more: a program that left its group may keep the pipe open for long."""
        while self.pass_on(0):
            pass
        self._selector.close()
        os.close(self._pipe)


def _follow(process: subprocess.Popen[bytes], output: _Output, deadline: float) -> int | None:
    """Pass the output on until the program ends; its exit code, or None where the deadline comes before."""
    while (left := deadline - time.monotonic()) > 0:
        if not output.is_open:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(left)
        elif not output.pass_on(min(left, _LOOK_SECONDS)) and process.poll() is not None:
            return process.returncode
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the program's group: after a time limit all of it, else children that it left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
