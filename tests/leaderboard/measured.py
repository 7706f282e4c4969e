"""Records whose figures follow from sums of documents, with gauges that know how: what the gate compares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from saetransfer.leaderboard.gate.gauge import Gauge, Totals
from saetransfer.leaderboard.record import Failure, Hardware, Measurement, Record
from tests.leaderboard.examples import record

INCREASE = "perplexity.ce_splice_increase"
GAP = "perplexity.transfer_gap"
RECOVERED = "perplexity.kl_score"
TOLERANCE = 0.01
N_DOCUMENTS = 60
MACHINE = Hardware(cpu="a processor", cores=2, threads=4, memory_gib=24, gpus=(), system="Linux x86_64")


def _increase(own: Totals) -> np.ndarray:
    return (own["ce_spliced"] - own["ce_state"]) / own["n_scored"]


def _gap(own: Totals, dense: Totals) -> np.ndarray:
    return _increase(own) - _increase(dense)


GAUGES = {
    INCREASE: Gauge(
        "nats", higher_is_better=False, compute=lambda own, _dense: _increase(own), valid_range=(-100.0, None)
    ),
    GAP: Gauge("nats", higher_is_better=False, compute=_gap),
    RECOVERED: Gauge("1", higher_is_better=True),
    "perplexity.ce_zero": Gauge("nats", higher_is_better=None),
    "cost.latency_ms": Gauge("ms", higher_is_better=False, is_cost=True),
    "cost.peak_bytes": Gauge("bytes", higher_is_better=False, is_cost=True),
}

FAILURE = Failure(phase="measure", type="RuntimeError", message="out of memory")


def sums(seed: int = 0, shift: float = 0.0, noise: float = 0.0) -> dict[str, list[float]]:
    """Sums of documents: what the seed makes of them, and then every token `shift` nats worse, with noise of a re-run.

    Args:
        seed: of the text, and of the noise.
        shift: nats a token.
        noise: standard deviation of a document's mean over the tokens, in nats.
    """
    rng = np.random.default_rng(seed)
    n_scored = rng.integers(20, 120, N_DOCUMENTS).astype(float)
    ce_state = n_scored * rng.lognormal(0.0, 0.5, N_DOCUMENTS)
    ce_spliced = ce_state + n_scored * rng.normal(0.1, 0.05, N_DOCUMENTS)
    moved = shift + noise * np.random.default_rng(seed + 1).standard_normal(N_DOCUMENTS)
    return {
        "n_scored": n_scored.tolist(),
        "ce_state": ce_state.tolist(),
        "ce_spliced": (ce_spliced + n_scored * moved).tolist(),
    }


def measured(compressor: str = "dense", per_document: dict[str, list[float]] | None = None, **changes: Any) -> Record:
    """A cell whose splice increase follows from its sums; `changes` replace fields of the record."""
    found = sums() if per_document is None else per_document
    value = float((np.sum(found["ce_spliced"]) - np.sum(found["ce_state"])) / np.sum(found["n_scored"]))
    metrics = {INCREASE: Measurement(value=value, unit="nats", ci=(value - 0.01, value + 0.01), n=4000)}
    return record(compressor, **{"per_document": found, "metrics": metrics, **changes})


def failed(compressor: str = "dense", **changes: Any) -> Record:
    """The same cell without figures."""
    return record(compressor, error=FAILURE, **changes)


def with_figures(values: Mapping[str, tuple[float, tuple[float, float] | None]], **changes: Any) -> Record:
    """A cell with these values and intervals."""
    metrics = {
        name: Measurement(
            value=value,
            unit=GAUGES[name].unit if name in GAUGES else "1",
            ci=ci,
            kind="cost" if name.startswith("cost.") else "quality",
        )
        for name, (value, ci) in values.items()
    }
    return record(metrics=metrics, **changes)
