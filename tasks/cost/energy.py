"""Energy of a GPU, from the counter that NVML keeps since the driver was loaded (Volta and later).

It counts the whole board: only one process may use it while it is read, or the figure is of both.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from .timing import Work

NO_GPU = "no GPU: energy is read from NVML, the library of NVIDIA's driver"


@torch.inference_mode()
def joules_per_call(work: Work, seconds: float, device: torch.device) -> float | str:
    """Joules of one call, what is not timed of it included, from calls over some seconds; or why they are not known."""
    if device.type != "cuda":
        return NO_GPU
    counter = _counter(device)
    if isinstance(counter, str):
        return counter
    torch.cuda.synchronize(device)
    began, start, calls = counter(), time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        work.run(work.prepare())
        torch.cuda.synchronize(device)
        calls += 1
    return (counter() - began) / calls


def _counter(device: torch.device) -> Callable[[], float] | str:
    """Joules that the GPU has used so far, or why they cannot be read."""
    try:
        import pynvml  # pyright: ignore[reportMissingImports]
    except ImportError:
        return "NVML cannot be read: install it with `pip install nvidia-ml-py`"
    try:
        pynvml.nvmlInit()
        # Not by index: NVML counts GPUs that CUDA_VISIBLE_DEVICES hides.
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError as error:
        return f"NVML does not tell the energy of this GPU: {error}"
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000.0
