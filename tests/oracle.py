"""SAELens' own evaluation, as an oracle for ours."""

from __future__ import annotations

import warnings
from typing import Any

from datasets import Dataset
from sae_lens import SAE
from sae_lens.analysis.sae_transformer_bridge import SAETransformerBridge
from sae_lens.evals import get_eval_everything_config, run_evals
from sae_lens.training.activation_scaler import ActivationScaler
from sae_lens.training.activations_store import ActivationsStore
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from saetransfer.registry.sites import Site
from saetransfer.registry.windows import Windows

# Names of the bridge's own hook points: on their aliases (`hook_resid_post`) SAELens' ablation has no effect.
_BRIDGE_NAMES = {"resid_post": "hook_out", "mlp_out": "mlp.hook_out"}


def saelens_figures(
    folder: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sae: SAE[Any], site: Site, text: Windows
) -> dict[str, float]:
    """All scalar metrics of SAELens' `run_evals` on exactly these windows, which must be of one length."""
    lengths = {len(window) for window in text.tokens}
    if len(lengths) != 1:
        raise ValueError(f"the oracle takes windows of one length, got {sorted(lengths)}")
    sae.cfg.metadata.hook_name = f"blocks.{site.layer}.{_BRIDGE_NAMES[site.kind]}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bridge: Any = SAETransformerBridge.boot_transformers(folder, hf_model=model, tokenizer=tokenizer)
        store = ActivationsStore.from_sae(
            bridge,
            sae,
            dataset=Dataset.from_dict({"tokens": [window.tolist() for window in text.tokens]}),
            context_size=lengths.pop(),
            streaming=False,
            store_batch_size_prompts=len(text.tokens),
        )
        groups, _ = run_evals(
            sae,
            store,
            bridge,
            ActivationScaler(),
            get_eval_everything_config(
                batch_size_prompts=len(text.tokens),
                n_eval_reconstruction_batches=1,
                n_eval_sparsity_variance_batches=1,
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
