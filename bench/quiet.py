"""Loaded before the libraries: keeps what they say on import off the terminal.

bitsandbytes logs, each time it is imported, that an optional package with CPU kernels from the hub is missing.
"""

from __future__ import annotations

import logging

logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
