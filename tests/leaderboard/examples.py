"""Records to test with: a small grid in which every kind of cell occurs."""

from __future__ import annotations

from typing import Any

from saetransfer.leaderboard.boards.columns import Definition
from saetransfer.leaderboard.record import Failure, Labels, Measurement, Record, Spec, cell_id_of

DEFINITIONS = {
    "perplexity.transfer_gap": Definition("nats", False, "splice increase here minus that on the dense state"),
    "perplexity.ce_model_increase": Definition("nats", False, "cross-entropy of the state minus that of the dense one"),
    "perplexity.ce_splice_increase": Definition("nats", False, "cross-entropy with the SAE spliced in minus without"),
    "perplexity.loss_recovered_zero": Definition("1", True, "share of the loss of zero ablation that the SAE recovers"),
    "reconstruction.explained_variance": Definition("1", True, "1 - FVU"),
    "reconstruction.l0": Definition("latents", None, "mean number of active latents"),
}


def spec(name: str = "dense", entry: str = "frozen", source: str = "trained", **changes: Any) -> Spec:
    """The spec of a cell by the names of its compressor and its SAE; `changes` replace whole fields."""
    fields: dict[str, Any] = {
        "model": {"name": "microworld", "dtype": "float32", "weights": "0f3c"},
        "compressor": [] if name == "dense" else [{"method": name, "ratio": 0.5}],
        "sae": {"name": entry, "source": source, "on": "dense"},
        "site": "blocks.2.hook_resid_post",
        "data": {"text": "microworld", "tokens": 16384, "context": 128, "hash": "77aa"},
        "tasks": {"perplexity": {"version": 1}, "reconstruction": {"version": 1}},
        "seed": 0,
    }
    return Spec(**{**fields, **changes})


def record(
    compressor: str = "dense",
    sae: str = "frozen",
    source: str = "trained",
    gap: float | None = 0.0,
    error: Failure | None = None,
    status: str | None = None,
    **changes: Any,
) -> Record:
    """A record of such a cell, with figures unless there is an error; `changes` replace fields of the record."""
    its_spec = changes.pop("spec", spec(compressor, sae, source))
    fields: dict[str, Any] = {
        "cell_id": cell_id_of(its_spec),
        "status": status or ("ok" if error is None else "failed"),
        "created_at": "2026-01-02T03:04:05Z",
        "labels": Labels(
            suite="demo", model="microworld", compressor=compressor, sae=sae, sae_source=source, text="microworld"
        ),
        "spec": its_spec,
        "compression": _compression(compressor),
        "metrics": {} if error else _metrics(gap, compressor, source),
        "environment": {"saetransfer": "0.1.0", "cpu": "a processor", "packages": {"torch": "2.13.0", "numpy": "2.4"}},
        "error": error,
    }
    return Record(**{**fields, **changes})


def grid() -> list[Record]:
    """Two SAEs on three states, one cell failed and one missing."""
    return [
        record(),
        record("wanda-50", gap=0.0312),
        record("rtn-int5", gap=0.0007),
        record(sae="random", source="random"),
        record(
            "wanda-50",
            sae="random",
            source="random",
            error=Failure(
                phase="compress", type="ValueError", message="out of memory at block 7 of 12, and a long tale"
            ),
        ),
    ]


def _compression(compressor: str) -> dict[str, Any]:
    theoretical = 2_624_000 if compressor == "dense" else 700_000
    return {
        "target_matrices": 42,
        "sparsity": 0.0 if compressor == "dense" else 0.5,
        "effective_bits": 32.0,
        "bytes": {"dense": 2_624_000, "actual": 2_624_000, "theoretical": theoretical},
        "verified": True,
        "warnings": [],
    }


def _metrics(gap: float | None, compressor: str, source: str) -> dict[str, Measurement]:
    interval = None if gap is None else (gap - 0.004, gap + 0.004) if gap else (0.0, 0.0)
    increase = 0.0 if compressor == "dense" else 0.25
    return {
        "perplexity.transfer_gap": Measurement(
            value=gap, unit="nats", ci=interval, n=16000, reason="no dense state in the suite" if gap is None else None
        ),
        "perplexity.ce_model_increase": Measurement(
            value=increase, unit="nats", ci=(0.96 * increase, 1.04 * increase), n=16000
        ),
        "perplexity.ce_splice_increase": Measurement(value=0.1234567, unit="nats", ci=(0.12, 0.127), n=16000),
        "perplexity.loss_recovered_zero": Measurement(value=0.9712, unit="1", ci=(0.96, 0.98), n=16000),
        "reconstruction.explained_variance": Measurement(
            value=0.1042 if source == "random" else 0.8913, unit="1", n=16000
        ),
        "reconstruction.l0": Measurement(value=31.8, unit="latents", ci=(31.6, 32.0), n=16000),
    }
