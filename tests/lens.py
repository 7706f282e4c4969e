"""TransformerLens' own processing of weights, run on toy models: the oracle for SAEs that were trained on those."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import transformer_lens.loading_from_pretrained as loading
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens import HookedTransformer
from transformers import PreTrainedModel

from saetransfer.registry.sites import Site

RAW = {"fold_ln": False, "center_writing_weights": False, "center_unembed": False, "fold_value_biases": False}
"""What `from_pretrained_no_processing` asks for."""

_BY_HEART = {"gemma": "google/gemma-2b", "gemma2": "google/gemma-2-2b", "gemma3_text": "google/gemma-3-270m"}
"""Families whose configurations TransformerLens does not read: it knows its models by name."""

_convert = loading.convert_hf_model_config


def hooked(model: PreTrainedModel, folder: Path, **options: Any) -> HookedTransformer:
    """The model as `HookedTransformer.from_pretrained` makes it of a Hugging Face model with these options.

    TransformerLens finds a model's architecture by a name that it knows, and its tokenizer on the hub. Here the name is
    a folder with the toy's config.json, and there is no tokenizer; the weights go through all of its own code.
    """
    model.config.save_pretrained(folder)
    described = json.loads((folder / "config.json").read_text())
    # Attributes that older versions of transformers wrote, and that TransformerLens still reads.
    described |= {"architectures": [type(model).__name__], "n_ctx": 64, "partial_rotary_factor": 0.5}
    (folder / "config.json").write_text(json.dumps(described))
    nothing: Any = object()
    with _named_by_folder(model), contextlib.redirect_stdout(io.StringIO()):
        return HookedTransformer.from_pretrained(str(folder), hf_model=model, tokenizer=nothing, **options)


def cached(lens: HookedTransformer, tokens: Int[Tensor, "batch position"], site: Site) -> Float[Tensor, "batch _ _"]:
    """Its activations at a site, heads side by side."""
    _, cache = lens.run_with_cache(tokens, names_filter=site.name)
    found = cache[site.name]
    return found.flatten(2) if site.kind == "attn_z" else found


@contextmanager
def _named_by_folder(model: PreTrainedModel) -> Iterator[None]:
    def no_tokenizer(lens: HookedTransformer, *_args: Any, **_kwargs: Any) -> None:
        lens.tokenizer = None

    with ExitStack() as stack:
        stack.enter_context(patch.object(HookedTransformer, "set_tokenizer", no_tokenizer))
        stack.enter_context(patch.object(loading, "get_official_model_name", str))
        if model.config.model_type in _BY_HEART:
            known = _known(model)
            stack.enter_context(patch.object(loading, "convert_hf_model_config", lambda *_args, **_kw: known))
        if model.config.model_type == "phi":  # another attribute that transformers has no more
            stack.enter_context(patch.object(type(model.config), "partial_rotary_factor", 0.5, create=True))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", DeprecationWarning)  # HookedTransformer is to give way to the bridge
        logging.disable(logging.WARNING)
        stack.callback(logging.disable, logging.NOTSET)
        yield


def _known(model: PreTrainedModel) -> dict[str, Any]:
    """What TransformerLens knows by heart of one size of the family, with the sizes of the toy."""
    config = model.config
    known = _convert(_BY_HEART[config.model_type])
    sizes = {
        "d_model": config.hidden_size,
        "d_head": config.head_dim,
        "rotary_dim": config.head_dim,
        "n_heads": config.num_attention_heads,
        "n_key_value_heads": config.num_key_value_heads,
        "n_layers": config.num_hidden_layers,
        "d_mlp": config.intermediate_size,
        "d_vocab": config.vocab_size,
        "n_ctx": config.max_position_embeddings,
        "act_fn": "gelu_pytorch_tanh",  # for Gemma it has another GELU than transformers
    }
    if known.get("use_local_attn"):
        sizes["window_size"] = config.sliding_window
        sizes["attn_types"] = ["local" if kind == "sliding_attention" else "global" for kind in config.layer_types]
        sizes["attn_scale"] = config.query_pre_attn_scalar**0.5
    return known | sizes
