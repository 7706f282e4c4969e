"""SAEs trained from scratch on a stream of activations, by SAELens' own trainer.

What SAELens leaves open is set for small budgets (some hundred thousand tokens), where its defaults, made for a
thousand times more, leave most latents dead:

- Inputs are shifted by their mean (the first `b_dec`) and scaled so that the mean norm of what is left is sqrt(d_in),
  both estimated on the first tokens. SAELens scales by the norm of the raw activations, in which a large common
  offset, usual in residual streams, hides the variance there is to explain. Both are folded into the weights at the
  end, so an SAE of `a x + c` explains as much as one of `x`.
- Decoder rows start at norm 0.1 as in SAELens, the encoder as their transpose.
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
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from ..errors import RegistryError, unknown
from .entry import Origin, Params, SaeEntry
from .folder import load_folder, quiet
from .forms import Count, Form, Positive, Seed, Surroundings
from .stream import Activations, shuffled_batches, take

if TYPE_CHECKING:
    from sae_lens import SAE, TrainingSAE

ARCHITECTURES = ("standard", "gated", "topk", "batchtopk", "jumprelu")
RECIPE = 1
"""Version of what this file does beyond its parameters; it is part of every trained SAE's identity."""

_SPARSITY: dict[str, str] = {
    "standard": "l1_coefficient",
    "gated": "l1_coefficient",
    "topk": "k",
    "batchtopk": "k",
    "jumprelu": "l0_coefficient",
}
"""The one parameter by which each architecture's sparsity is set."""
_DEFAULT_COEFFICIENTS = {"standard": 1.0, "gated": 1.0, "jumprelu": 0.3}
_WARM_UP, _DECAY, _DEAD_AFTER = 0.05, 0.3, 0.05
_ESTIMATE_TOKENS = 8192
_BUFFER_TOKENS, _BUFFER_BYTES = 1 << 16, 1 << 28


class TrainedParams(Params):
    """Everything that a training depends on beside its activations."""

    k: Count | None = None
    """Active latents a token (topk; on average over a batch for batchtopk)."""
    l1_coefficient: Positive | None = None
    """Weight of the L1 penalty (standard, gated), for inputs scaled as above."""
    l0_coefficient: Positive | None = None
    """Weight of the L0 penalty (jumprelu), for inputs scaled as above."""
    tokens: Count = 200_000
    lr: Positive
    batch_size: Count = 256
    seed: Seed = 0
    recipe: Literal[1] = RECIPE


class TrainedForm(Form):
    """`{name, source: trained, on, site, architecture, d_sae, k | l1_coefficient | l0_coefficient, ...}`.

    `like: NAME` takes site, architecture, widths, sparsity and BOS from an earlier SAE; what is given beside it wins.
    """

    source: Literal["trained"]
    on: Origin
    like: str | None = None
    site: str | None = None
    architecture: str | None = None
    d_sae: Count | None = None
    prepend_bos: bool | None = None
    context_size: Count | None = None
    k: Count | None = None
    l1_coefficient: Positive | None = None
    l0_coefficient: Positive | None = None
    tokens: Count = TrainedParams.model_fields["tokens"].default
    lr: Positive | None = None
    """Adam's learning rate; 0.1 / sqrt(d_sae) unless said otherwise."""
    batch_size: Count = TrainedParams.model_fields["batch_size"].default
    seed: Seed = TrainedParams.model_fields["seed"].default

    @model_validator(mode="after")
    def _whole(self) -> TrainedForm:
        missing = [key for key in ("site", "architecture", "d_sae") if getattr(self, key) is None]
        if self.like is None and missing:
            raise ValueError(f"a trained SAE needs {', '.join(missing)}, or `like` and the name of an earlier SAE")
        if self.tokens < self.batch_size:
            raise ValueError(f"'tokens' ({self.tokens}) are fewer than one batch ('batch_size' {self.batch_size})")
        return self


@dataclass(frozen=True)
class TrainingOutcome:
    """A trained SAE and what it cost."""

    sae: SAE[Any]
    seconds: float
    """Wall time, that of producing the activations included."""
    tokens: int
    """Tokens trained on: whole batches."""
    steps: int


def entry(form: TrainedForm, around: Surroundings, like: SaeEntry | None) -> SaeEntry:
    """The entry of an SAE to be trained.

    Raises:
        RegistryError: an unknown architecture or site, or a sparsity parameter of another architecture.
    """
    site = around.site(form.site, form.name) if form.site is not None else _of(like).site
    architecture = form.architecture or _trained_as(_of(like))
    if architecture not in ARCHITECTURES:
        raise RegistryError(f"SAE '{form.name}': {unknown('architecture to train', architecture, ARCHITECTURES)}")
    width = site.width(around.config)
    prepend_bos, context_size = form.prepend_bos, form.context_size
    if prepend_bos is None:
        prepend_bos = around.prepend_bos_default if like is None else like.prepend_bos
    if context_size is None and like is not None:
        context_size = like.context_size
    d_sae = form.d_sae or _of(like).d_sae
    params = TrainedParams(
        **_sparsity(form, architecture, d_sae, like),
        lr=form.lr or 0.1 / math.sqrt(d_sae),
        tokens=form.tokens,
        batch_size=form.batch_size,
        seed=form.seed,
    )
    return SaeEntry(
        form.name, "trained", site, width, d_sae, architecture, prepend_bos, context_size, form.on, None, params
    )


def _of(like: SaeEntry | None) -> SaeEntry:
    """`like`, where the form has made sure that there is one."""
    if like is None:
        raise TypeError("a trained SAE without `like` has site, architecture and d_sae of its own")
    return like


def _trained_as(like: SaeEntry) -> str:
    """The architecture in training of an SAE: one that is read as `jumprelu` was often trained as `batchtopk`."""
    root = _root(like)
    return getattr(root.params, "trained_as", root.architecture)


def _root(like: SaeEntry) -> SaeEntry:
    """The SAE that others were pruned from or drawn after: the one that was trained."""
    while like.base is not None:
        like = like.base
    return like


def _sparsity(form: TrainedForm, architecture: str, d_sae: int, like: SaeEntry | None) -> dict[str, Any]:
    """The architecture's own sparsity parameter: given, copied from `like`, or the default."""
    own = _SPARSITY[architecture]
    for key in sorted(set(_SPARSITY.values()) - {own}):
        if getattr(form, key) is not None:
            raise RegistryError(f"SAE '{form.name}': '{key}' means nothing to {architecture}; its sparsity is '{own}'.")
    value = getattr(form, own)
    if value is None and like is not None and architecture == _trained_as(like):
        value = getattr(_root(like).params, own, None)
    if value is None:
        value = _DEFAULT_COEFFICIENTS.get(architecture)
    if value is None:
        raise RegistryError(f"SAE '{form.name}': a {architecture} SAE needs 'k', the number of active latents a token.")
    if own == "k" and value > d_sae:
        raise RegistryError(f"SAE '{form.name}': 'k' is {value}, but there are only {d_sae} latents (d_sae).")
    return {own: value}


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
        "topk": {"k": params.k},
        "batchtopk": {"k": params.k},
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
