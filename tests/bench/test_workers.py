"""Workers are forked from a server, and load nothing of the program that runs here."""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection
from typing import Any

import pytest

from saetransfer.bench.running import workers


def tell_the_program(connection: Connection[Any, Any]) -> None:
    connection.send(getattr(sys.modules["__main__"], "__file__", None))


def test_workers_do_not_load_the_program_that_starts_them() -> None:
    program = sys.modules["__main__"]
    before = dict(vars(program))
    context = workers.context()
    ours, theirs = context.Pipe()
    process = context.Process(target=tell_the_program, args=(theirs,))
    with workers.without_program():
        process.start()
    process.join(120)
    assert process.exitcode == 0
    assert ours.recv() is None
    assert vars(program) == before


def test_the_program_is_as_it_was_after_a_failure() -> None:
    program = sys.modules["__main__"]
    before = dict(vars(program))
    with pytest.raises(OSError, match="no fork"), workers.without_program():
        raise OSError("no fork")
    assert vars(program) == before
