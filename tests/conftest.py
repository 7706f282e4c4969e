"""Settings of all tests."""

from __future__ import annotations

import os

# Two test processes share two cores: one thread each, and no thread that spins while it waits.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

torch.set_num_threads(1)
