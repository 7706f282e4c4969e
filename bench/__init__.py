"""The engine: from a suite to records and boards. The only folder that knows the other three."""

import logging

# bitsandbytes logs at every import that an optional package with CPU kernels from the hub is missing; torchao, which
# transformers imports where it is installed, that its CUDA kernels do not load, and torch that it registers enums.
for _name in ("bitsandbytes.backends.cpu.ops", "torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)
