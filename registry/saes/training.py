"""SAEs trained from scratch on a stream of activations, by SAELens' own trainer.

What SAELens leaves open is set for small budgets (some hundred thousand tokens), where its defaults, made for a
thousand times more, leave most latents dead:

- Inputs are shifted by their mean (the first `b_dec`) and scaled so that the mean norm of what is left is sqrt(d_in),
  both estimated on the first tokens. SAELens scales by the norm of the raw activations, in which a large common
  offset, usual in residual streams, hides the variance there is to explain. Both are folded into the weights at the
  end, so an SAE of `a x + c` explains as much as one of `x`.
- The encoder starts as the decoder's transpose. Rows start at norm 0.1 as in SAELens, those of TopK and BatchTopK at
  norm 1: from 0.1 Adam's first steps are as large as the weights, and two to three times as many latents die.
- The learning rate falls with width as 1 / sqrt(d_sae) (the scaling of Gao et al., arXiv 2406.04093, appendix A.3;
  the factor 0.1 is ours). It warms up over the first 5 % and decays to zero over the last 30 % of the steps.
- A latent counts as dead, and TopK's auxiliary loss revives it, after 5 % of the steps without firing.
- Decoder norms are folded into the encoder: latents come in units of the activations and compare between SAEs.
"""

from __future__ import annotations

import itertools
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RegistryError
from .entry import SaeEntry
from .folder import load_folder, quiet
from .stream import Activations, shuffled_batches, take
from .trained import TrainedParams

if TYPE_CHECKING:
    from sae_lens import SAE, TrainingSAE

_WARM_UP, _DECAY, _DEAD_AFTER = 0.05, 0.3, 0.05
_TOPK_DECODER_NORM = 1.0
_ESTIMATE_TOKENS = 8192
_BUFFER_TOKENS, _BUFFER_BYTES = 1 << 16, 1 << 28


@dataclass(frozen=True)
class TrainingOutcome:
    """A trained SAE and what it cost."""

    sae: SAE[Any]
    seconds: float
    """Wall time, that of producing the activations included."""
    tokens: int
    """Tokens trained on: whole batches."""
    steps: int


def train(
    entry: SaeEntry,
    activations: Activations,
    progress: Callable[[float], None] | None = None,
    device: str | torch.device = "cpu",
    metadata: dict[str, Any] | None = None,
) -> TrainingOutcome:
    """Train the SAE of an entry on the first `tokens` activations.

    The result depends on the entry and the activations alone: neither on the sizes of their chunks' borders beyond
    the order of the tokens, nor on the global random state, which stays as it is.

    Args:
        activations: chunks `[token, d_in]` of any sizes, valid tokens only; may be endless.
        progress: told the fraction of steps done, after each.
        metadata: what cfg.json shall say of the SAE's origin, as `describe` in `build.py` makes it.

    Raises:
        RegistryError: the activations end before `tokens` are reached, or have another width.
    """
    params = entry.params
    if not isinstance(params, TrainedParams):
        raise TypeError(f"'{entry.name}' is {entry.source}, not trained")
    import sae_lens  # noqa: F401  seconds that are no part of the training

    started = time.perf_counter()
    steps = params.tokens // params.batch_size
    tokens = steps * params.batch_size
    stream = take(activations, tokens, entry.d_in)
    head = _first(stream, min(_ESTIMATE_TOKENS, tokens))
    trainer = _trainer(entry, params, steps, device, metadata or {})
    _fit_scale(trainer, head)
    generator = torch.Generator().manual_seed(params.seed)
    buffer = min(_BUFFER_TOKENS, _BUFFER_BYTES // (4 * entry.d_in), tokens)
    batches = shuffled_batches(itertools.chain([head], stream), params.batch_size, buffer, generator)
    with torch.enable_grad():
        for step, batch in enumerate(batches, start=1):
            trainer.maybe_reset_sparsity()
            trainer.step(batch)
            trainer.n_training_steps += 1
            if progress is not None:
                progress(step / steps)
    return TrainingOutcome(_finished(trainer, device), time.perf_counter() - started, tokens, steps)


def _first(stream: Activations, tokens: int) -> Float[Tensor, "token d_in"]:
    """At least the first `tokens` activations of a stream, which goes on after them."""
    chunks = [next(stream)]
    while sum(chunk.shape[0] for chunk in chunks) < tokens:
        chunks.append(next(stream))
    return torch.cat(chunks)


def _trainer(
    entry: SaeEntry, params: TrainedParams, steps: int, device: str | torch.device, metadata: dict[str, Any]
) -> Any:
    """SAELens' trainer with a fresh SAE, drawn from the seed alone."""
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(params.seed)
        sae = _fresh(entry, params, steps, metadata)
    config = SAETrainerConfig(
        total_training_samples=steps * params.batch_size,
        train_batch_size_samples=params.batch_size,
        lr=params.lr,
        lr_end=params.lr,
        lr_warm_up_steps=int(_WARM_UP * steps),
        lr_decay_steps=int(_DECAY * steps),
        dead_feature_window=max(10, int(_DEAD_AFTER * steps)),
        feature_sampling_window=math.ceil(steps / 10),
        device=str(device),
    )
    return SAETrainer(config, sae.to(device=torch.device(device)), data_provider=iter(()))


def _fresh(entry: SaeEntry, params: TrainedParams, steps: int, metadata: dict[str, Any]) -> TrainingSAE[Any]:
    from sae_lens import TrainingSAE

    warm_up = int(_WARM_UP * steps)
    own: dict[str, dict[str, Any]] = {
        "standard": {"l1_coefficient": params.l1_coefficient, "l1_warm_up_steps": warm_up},
        "gated": {"l1_coefficient": params.l1_coefficient, "l1_warm_up_steps": warm_up},
        "topk": {"k": params.k, "decoder_init_norm": _TOPK_DECODER_NORM},
        "batchtopk": {"k": params.k, "decoder_init_norm": _TOPK_DECODER_NORM},
        "jumprelu": {"l0_coefficient": params.l0_coefficient, "l0_warm_up_steps": warm_up},
    }
    return TrainingSAE.from_dict(
        {
            "architecture": entry.architecture,
            "d_in": entry.d_in,
            "d_sae": entry.d_sae,
            "dtype": "float32",
            "normalize_activations": "expected_average_only_in",
            "reshape_activations": "hook_z" if entry.site.kind == "attn_z" else "none",
            "metadata": {"hook_name": entry.site.name, **metadata},
            **own[entry.architecture],
        }
    )


@torch.no_grad()
def _fit_scale(trainer: Any, head: Float[Tensor, "token d_in"]) -> None:
    """Start from the mean of the first activations, and scale by the mean norm of what differs from it."""
    mean = head.mean(dim=0)
    norm = (head - mean).norm(dim=1).mean().item()
    if norm == 0.0:
        raise RegistryError("All activations are the same: there is nothing for an SAE to learn.")
    scale = math.sqrt(head.shape[1]) / norm
    trainer.activation_scaler.scaling_factor = scale
    trainer.sae.b_dec.copy_(mean.to(trainer.sae.device) * scale)


def _finished(trainer: Any, device: str | torch.device) -> SAE[Any]:
    """The plain SAE: scale and decoder norms folded, and everything that only training needs left behind."""
    trainer.sae.fold_activation_norm_scaling_factor(trainer.activation_scaler.scaling_factor)
    trainer.set_final_sae_metadata()
    with tempfile.TemporaryDirectory() as folder:
        trainer.sae.save_inference_model(folder)
        sae = load_folder(Path(folder), device)
    if sae.cfg.architecture() != "topk":  # its norms are folded when it is saved
        sae.fold_W_dec_norm()
    return sae
