"""SAELens' own evaluation on our windows: what ours is tested and timed against."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from datasets import Dataset
from jaxtyping import Float, Int
from sae_lens import SAE
from sae_lens.analysis.sae_transformer_bridge import SAETransformerBridge
from sae_lens.evals import get_eval_everything_config, run_evals
from sae_lens.training.activation_scaler import ActivationScaler
from sae_lens.training.activations_store import ActivationsStore
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...registry.sites import Site
from ...registry.windows import Windows

Bridge = Any
"""A model in SAELens' hands: an `SAETransformerBridge`, which its signatures do not know yet."""

# Names of the bridge's own hook points: on their aliases (`hook_resid_post`) SAELens' ablation has no effect.
_BRIDGE_NAMES = {"resid_post": "hook_out", "mlp_out": "mlp.hook_out"}


def bridged(folder: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Bridge:
    """A copy of a model in SAELens' hands, which takes it apart; `folder` has its configuration."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SAETransformerBridge.boot_transformers(folder, hf_model=copy.deepcopy(model), tokenizer=tokenizer)


def saelens_activations(bridge: Bridge, site: Site, window: Int[Tensor, " position"]) -> Float[Tensor, "position d"]:
    """What SAELens reads at a site."""
    name = _name_of(site)
    _, cache = bridge.run_with_cache(window[None], prepend_bos=False, names_filter=[name])
    return torch.as_tensor(cache[name])[0]


def _name_of(site: Site) -> str:
    return f"blocks.{site.layer}.{_BRIDGE_NAMES[site.kind]}"


def saelens_figures(
    bridge: Bridge, sae: SAE[Any], site: Site, text: Windows, batch_windows: int | None = None
) -> dict[str, float]:
    """All scalar metrics of SAELens' `run_evals`, with all that it can measure, on exactly these windows.

    Args:
        text: windows of one length.
        batch_windows: how many are run at once, a divisor of their number; all of them without.
    """
    lengths, n_windows = {len(window) for window in text.tokens}, len(text.tokens)
    if len(lengths) != 1:
        raise ValueError(f"SAELens takes windows of one length, got {sorted(lengths)}")
    batch_windows = batch_windows or n_windows
    n_batches = n_windows // batch_windows
    sae.cfg.metadata.hook_name = _name_of(site)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = ActivationsStore.from_sae(
            bridge,
            sae,
            dataset=Dataset.from_dict({"tokens": [window.tolist() for window in text.tokens]}),
            context_size=lengths.pop(),
            streaming=False,
            store_batch_size_prompts=batch_windows,
        )
        groups, _ = run_evals(
            sae,
            store,
            bridge,
            ActivationScaler(),
            get_eval_everything_config(
                batch_size_prompts=batch_windows,
                n_eval_reconstruction_batches=n_batches,
                n_eval_sparsity_variance_batches=n_batches,
            ),
        )
    return {name: float(value) for group in groups.values() for name, value in group.items()}


THE_SAME = {
    "reconstruction.explained_variance": "explained_variance",
    "reconstruction.mse": "mse",
    "reconstruction.cosine": "cossim",
    "reconstruction.l2_ratio": "l2_ratio",
    "reconstruction.relative_bias": "relative_reconstruction_bias",
    "reconstruction.l0": "l0",
    "reconstruction.l1": "l1",
    "perplexity.ce_state": "ce_loss_without_sae",
    "perplexity.ce_spliced": "ce_loss_with_sae",
    "perplexity.ce_zero": "ce_loss_with_ablation",
    "perplexity.loss_recovered_zero": "ce_loss_score",
    "perplexity.kl_splice": "kl_div_with_sae",
    "perplexity.kl_score": "kl_div_score",
}
"""Our metrics and SAELens' name for the same definition."""
