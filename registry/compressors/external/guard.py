"""Runs a program, and ends it with all its children as soon as standard input closes: when whoever started it dies.

Run as a file of its own (`python -I -S guard.py PROGRAM ARGUMENTS...`), at the head of a process group of its own. A
tool may take hours; without this, Ctrl-C on a run or a killed worker would leave it running.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def _end_with_standard_input() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os.killpg(0, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Run the command; the exit code is the command's, or 128 and the number of the signal that killed it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    # Not `sys.exit`: it would wait for the thread's lock on standard input.
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
