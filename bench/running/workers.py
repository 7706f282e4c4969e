"""The server that workers are forked from, where the system can fork.

It imports the libraries that load models once for all workers. This file imports none of them itself, so that the
server can be started first of all, and import them while this process does the same and plans.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext

_PRELOADED = ["saetransfer.bench.running.state", "sae_lens", "transformers.models.auto.modeling_auto"]


def context() -> ForkServerContext | SpawnContext:
    """How processes are started here."""
    # Threads that wait by spinning bring a machine with a second busy process to a crawl: a state then takes ten to
    # twenty times as long. Sleeping costs next to nothing. It must be said before the libraries are loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(_PRELOADED)
    return found


def warm_up() -> None:
    """Start the server; the first worker waits until it has imported everything."""
    if isinstance(context(), ForkServerContext):
        forkserver.ensure_running()


@contextmanager
def without_program() -> Iterator[None]:
    """Let processes that start in this context not load the program that runs here.

    They would do so first of all, each of them, and need nothing of it; that of Ray takes half a second.
    """
    program = vars(sys.modules["__main__"])
    hidden = {name: program[name] for name in ("__spec__", "__file__") if name in program}
    program.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        program.update(hidden)
