"""The engine: from a suite to records and boards. The only folder that knows the other three."""

import logging

# bitsandbytes logs at every import that an optional package with CPU kernels from the hub is missing.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
