"""Which device a state runs on, and how that is set up: nothing here changes a figure, but by the rounding of a GPU.

PyTorch is imported where it is needed, as in `memory`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def lease(device: str, taken: Iterable[str]) -> str:
    """The device for the next state: of several GPUs that which fewest states hold, where `cuda` leaves the choice.

    Args:
        device: as the run was told: `cpu`, `cuda`, `cuda:1`, ...
        taken: devices of the states that run now, one for each.
    """
    if device != "cuda":
        return device
    import torch

    if torch.cuda.device_count() < 2:
        return device
    held = Counter(taken)
    return min((f"cuda:{index}" for index in range(torch.cuda.device_count())), key=lambda one: held[one])


def states_at_a_time(device: str) -> int:
    """How many states a run has room for on its GPUs: one on each."""
    import torch

    return max(1, torch.cuda.device_count()) if device == "cuda" else 1


def use(device: str) -> None:
    """Make a device that of this process: libraries launch their kernels on the current GPU, whatever holds the model.

    Products in float32 are computed as such: TF32, which has ten bits of mantissa, would show in every figure.
    """
    import torch

    torch.set_float32_matmul_precision("highest")
    if torch.device(device).index is not None:
        torch.cuda.set_device(device)
