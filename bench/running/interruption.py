"""Ctrl-C and SIGTERM while a suite runs: what is being written is finished first, and a second one ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHELLS_OFFSET = 128
"""A shell tells of a program that a signal ended by 128 and the signal's number."""


class Interrupted(Exception):
    """Somebody asked the run to stop, and it has."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Interrupted ({signal.Signals(number).name}).")
        self.exit_code = _SHELLS_OFFSET + number


class Requests:
    """What has been asked for so far."""

    def __init__(self) -> None:
        self._number: int | None = None

    def note(self, number: int, _frame: FrameType | None = None) -> None:
        """Remember a signal; the next one of its kind does what it always does."""
        self._number = number
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    def raise_if_any(self) -> None:
        """Stop here if a signal has come.

        Raises:
            Interrupted: one has.
        """
        if self._number is not None:
            raise Interrupted(self._number)


@contextmanager
def requests() -> Iterator[Requests]:
    """Within the context, a first SIGINT or SIGTERM is noted and interrupts nothing."""
    noted = Requests()
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield noted
        return
    before = {number: signal.signal(number, noted.note) for number in _SIGNALS}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
