"""Whoever will carry out the jobs of a run gets ready while this process loads its own libraries and plans."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from ..commands.run_options import RunOptions
from ..errors import UsageError
from . import workers


@contextmanager
def getting_ready(options: RunOptions) -> Iterator[None]:
    """For the time of a run: the workers' server starts here, or this process joins a Ray cluster and wakes its nodes.

    Raises:
        UsageError: Ray is not installed, no cluster answers, or there is an address without Ray.
    """
    if options.executor == "local":
        if options.address is not None:
            raise UsageError("--address: it says where a Ray cluster is, so it needs --executor ray.")
        if not options.dry_run:
            workers.warm_up()
        yield
        return
    if find_spec("ray") is None:
        raise UsageError("--executor ray: Ray is not installed. To install it: pip install 'saetransfer[ray]'")
    from .cluster import connection

    with connection.connected(options.address):
        if not options.dry_run:
            connection.warm_up()
        yield
