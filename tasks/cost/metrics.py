"""The costs, one definition each.

Times and memory of a state are those of the model alone, without an SAE in it. Speed is a property of what computes:
of a state whose weights are only rounded or zeroed within dense tensors no kernel makes use, so it has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..metric import Quantity

_cost = partial(Quantity, kind="cost", source="saetransfer", valid_range=(0.0, None))

COMPRESS = _cost(
    name="cost.compress_seconds",
    unit="s",
    higher_is_better=False,
    definition="wall time of the compressor, with what it reads of the calibration text",
)
LATENCY_P50 = _cost(
    name="cost.latency_ms_p50",
    unit="ms",
    higher_is_better=False,
    definition="time from one prompt to the logits of its next token: median",
)
LATENCY_P95 = _cost(
    name="cost.latency_ms_p95",
    unit="ms",
    higher_is_better=False,
    definition="time from one prompt to the logits of its next token: what 95 % of the calls do not exceed",
)
DECODE = _cost(
    name="cost.decode_tokens_per_second",
    unit="tokens/s",
    higher_is_better=True,
    definition="tokens generated with a cache after a prompt, one sequence at a time",
)
DECODE_SPEEDUP = _cost(
    name="cost.decode_speedup",
    unit="1",
    higher_is_better=True,
    definition="decode_tokens_per_second over that of the dense state on the same machine",
)
JOULES = _cost(
    name="cost.prefill_joules_per_token",
    unit="J/token",
    higher_is_better=False,
    definition="energy of the whole GPU for each prompt token read, at the largest batch size",
    source="NVML, nvmlDeviceGetTotalEnergyConsumption",
)
PEAK_RSS = _cost(
    name="cost.peak_rss_bytes",
    unit="bytes",
    higher_is_better=False,
    definition="the kernel's high-water mark of the process' resident memory while it reads prompts at the largest "
    "batch size and generates; the libraries' own memory is in it",
)
PEAK_ALLOCATED = _cost(
    name="cost.peak_cuda_allocated_bytes",
    unit="bytes",
    higher_is_better=False,
    definition="the same for GPU memory that tensors occupy",
)
PEAK_RESERVED = _cost(
    name="cost.peak_cuda_reserved_bytes",
    unit="bytes",
    higher_is_better=False,
    definition="the same for GPU memory that PyTorch has taken, in use or kept for later",
)
STORED = _cost(
    name="cost.weight_bytes_stored",
    unit="bytes",
    higher_is_better=False,
    definition="bytes of the state's weights as they lie in memory",
)
THEORETICAL = _cost(
    name="cost.weight_bytes_theoretical",
    unit="bytes",
    higher_is_better=False,
    definition="bytes of the state's weights in the smallest layout that holds them",
)
ON_DISK = _cost(
    name="cost.weight_bytes_on_disk",
    unit="bytes",
    higher_is_better=False,
    definition="bytes of the file that saving the state as it lies in memory writes",
)
SAE_SPEED = _cost(
    name="cost.sae_tokens_per_second",
    unit="tokens/s",
    higher_is_better=True,
    definition="activations that the SAE encodes and decodes in a second",
)
SAE_BYTES = _cost(
    name="cost.sae_bytes",
    unit="bytes",
    higher_is_better=False,
    definition="bytes of the SAE's weights as they lie in memory",
)
SAE_SECONDS = _cost(
    name="cost.sae_training_seconds",
    unit="s",
    higher_is_better=False,
    definition="wall time of making the SAE, with that of the activations it was made from",
)
SAE_TOKENS = _cost(
    name="cost.sae_training_tokens",
    unit="tokens",
    higher_is_better=False,
    definition="tokens whose activations the SAE was made from",
)


def prefill_speed(batch_size: int) -> Quantity:
    """Prompt tokens in a second."""
    return _cost(
        name=f"cost.prefill_tokens_per_second_b{batch_size}",
        unit="tokens/s",
        higher_is_better=True,
        definition=f"prompt tokens read in a second, {batch_size} prompts at a time",
    )


def prefill_speedup(batch_size: int) -> Quantity:
    """The same, against the dense state."""
    return _cost(
        name=f"cost.prefill_speedup_b{batch_size}",
        unit="1",
        higher_is_better=True,
        definition=f"prefill_tokens_per_second_b{batch_size} over that of the dense state on the same machine",
    )


def timed(batch_sizes: Sequence[int]) -> tuple[Quantity, ...]:
    """What is timed of a state, or follows from it."""
    speeds = [prefill_speed(size) for size in batch_sizes]
    return (LATENCY_P50, LATENCY_P95, *speeds, DECODE, JOULES)


def speedups(batch_sizes: Sequence[int]) -> dict[Quantity, Quantity]:
    """From each speed-up to the speed that it compares."""
    prefills = {prefill_speedup(size): prefill_speed(size) for size in batch_sizes}
    return {**prefills, DECODE_SPEEDUP: DECODE}


def metrics_of(batch_sizes: Sequence[int]) -> tuple[Quantity, ...]:
    """All costs."""
    memory = (PEAK_RSS, PEAK_ALLOCATED, PEAK_RESERVED, STORED, THEORETICAL, ON_DISK)
    of_sae = (SAE_SPEED, SAE_BYTES, SAE_SECONDS, SAE_TOKENS)
    return (COMPRESS, *timed(batch_sizes), *speedups(batch_sizes), *memory, *of_sae)
