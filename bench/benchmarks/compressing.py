"""What compressing costs.

Each case has a process of its own, with a fixed number of threads. Memory is the growth of the kernel's high-water mark
over the resident memory before the model is made, the model included: what a process needs that holds nothing else.
The mark is reset when the model is there, so that making it does not count.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from ...registry.calibration import Calibration
from ...registry.compressors.method import compress, noted_warnings
from ...registry.compressors.shelf import resolve
from ..running.profiling import peak_rss_bytes, reset_peak_rss

THREADS = 2
"""Of every case."""


@dataclass(frozen=True)
class Case:
    """One compressor on a model of random weights, calibrated on random tokens: figures of cost, not of quality."""

    compressor: str
    """Name of a card."""
    n_layers: int = 12
    d_model: int = 768
    vocabulary: int = 50_257
    sequences: int = 128
    context: int = 512

    def config(self) -> GPT2Config:
        """The shape, that of GPT-2 small unless it says otherwise; float32."""
        return GPT2Config(
            n_layer=self.n_layers,
            n_embd=self.d_model,
            n_head=self.d_model // 64,
            vocab_size=self.vocabulary,
            n_positions=self.context,
            bos_token_id=0,
            eos_token_id=0,
        )


CASES = (Case("sparsegpt-50"),)


@dataclass(frozen=True)
class Cost:
    """What a case took."""

    parameters: int
    model_bytes: int
    seconds: float
    peak_bytes: int | None
    """None where the system does not tell."""


def section() -> str:
    """The table of all cases."""
    return table(CASES, [measured(case) for case in CASES])


def measured(case: Case) -> Cost:
    """The cost of a case, in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(cost_here, case).result()


def cost_here(case: Case) -> Cost:
    """The cost of a case, in this process, which should have done nothing else before."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    compressor = resolve(case.compressor, Path(), {})
    tokens = torch.randint(case.vocabulary, (case.sequences, case.context))
    before = psutil.Process().memory_info().rss
    model = AutoModelForCausalLM.from_config(case.config(), dtype=torch.float32).eval()
    parameters = list(model.parameters())
    reset_peak_rss()
    start = time.perf_counter()
    with noted_warnings():
        compress(model, compressor, Calibration(list(tokens)))
    seconds = time.perf_counter() - start
    peak = peak_rss_bytes()
    return Cost(
        parameters=sum(parameter.numel() for parameter in parameters),
        model_bytes=sum(parameter.nbytes for parameter in parameters),
        seconds=seconds,
        peak_bytes=None if peak is None else peak - before,
    )


def table(cases: Sequence[Case], costs: Sequence[Cost]) -> str:
    """Cases and what they took, in Markdown."""
    rows = ["| compressor | model | calibration | time | peak memory |", "| --- | --- | --- | ---: | ---: |"]
    for case, cost in zip(cases, costs, strict=True):
        peak = "–" if cost.peak_bytes is None else f"{cost.peak_bytes / cost.model_bytes:.2f} x the model"
        shape = f"{case.n_layers} layers, {case.d_model} wide, {cost.parameters / 1e6:.0f}M parameters"
        seen = f"{case.sequences} x {case.context} tokens"
        rows.append(f"| {case.compressor} | {shape} | {seen} | {cost.seconds:.0f} s | {peak} |")
    return (
        "Models have GPT-2's architecture with random weights in float32, calibration is random tokens: what is "
        "measured is cost. Peak memory is the growth of the process's resident memory over what it was before the "
        "model was made, the model included.\n\n" + "\n".join(rows)
    )
