"""Whether the hub of Hugging Face can be reached, and how to ask it only once where it cannot.

Its client retries a request that fails for half a minute. A suite of fifty SAEs asks fifty times.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from unittest.mock import patch
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

_SECONDS = 5.0


@cache
def is_reachable() -> bool:
    """Whether the hub accepts connections, as far as one attempt tells; not where its client was told to be offline."""
    if constants.is_offline_mode():
        return False
    if getproxies():
        return True  # a proxy connects for us: only a real request would tell
    endpoint = urlsplit(constants.ENDPOINT)
    port = endpoint.port or (80 if endpoint.scheme == "http" else 443)
    try:
        socket.create_connection((endpoint.hostname or "", port), timeout=_SECONDS).close()
    except OSError:
        return False
    return True


@contextmanager
def asking() -> Iterator[None]:
    """For the time of the context, requests to a hub that cannot be reached look into its cache, or fail at once."""
    if is_reachable():
        yield
        return
    with patch.object(constants, "HF_HUB_OFFLINE", True):
        yield


def is_away(error: BaseException) -> bool:
    """Whether an error of its client means that there is neither a connection nor a copy in the cache."""
    chain = (error, error.__cause__, error.__context__)
    return any(isinstance(one, LocalEntryNotFoundError | OfflineModeIsEnabled) for one in chain)


def is_commit(revision: str) -> bool:
    """Whether a revision names one state of a repository for good, as no branch or tag does."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None
