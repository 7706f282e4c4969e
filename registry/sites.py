"""Sites: names, and reading, replacing and replaying at them by hooks that are always removed.

A site is understood by its TransformerLens hook name (`blocks.3.hook_resid_post`) and by the module path in the model
(`model.layers.3`, the block's output; `model.layers.3.mlp`; `model.layers.3.self_attn.o_proj`, whose input it is).
Activations are in the model's own coordinates: nothing is centred, folded or rescaled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from .errors import Impossible, RegistryError, unknown
from .families import blocks_of, family_of
from .structure import kept_blocks, kept_features

Kind = Literal["resid_pre", "resid_post", "mlp_out", "attn_z"]

_HOOK_NAMES: dict[str, Kind] = {
    "hook_resid_pre": "resid_pre",
    "hook_resid_post": "resid_post",
    "hook_out": "resid_post",  # how TransformerLens' bridge calls a block's output
    "hook_mlp_out": "mlp_out",
    "attn.hook_z": "attn_z",
}
_LENS_NAMES: dict[Kind, str] = {
    "resid_pre": "hook_resid_pre",
    "resid_post": "hook_resid_post",
    "mlp_out": "hook_mlp_out",
    "attn_z": "attn.hook_z",
}


@dataclass(frozen=True, order=True)
class Site:
    """A place in the model at which activations are read and replaced."""

    layer: int
    """Block, counted from 0."""
    kind: Kind

    @property
    def name(self) -> str:
        """The TransformerLens hook name, the form that records use."""
        return f"blocks.{self.layer}.{_LENS_NAMES[self.kind]}"

    def width(self, config: PretrainedConfig) -> int:
        """Number of channels of the activations at this site, in a model that has all its heads: see `locate`."""
        if self.kind != "attn_z":
            return config.hidden_size
        head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return config.num_attention_heads * head_width


def parse_site(name: str, config: PretrainedConfig) -> Site:
    """The site of that hook name or module path in a model of that configuration.

    Raises:
        RegistryError: a name of neither form, or a layer that the model does not have.
    """
    family = family_of(config)
    path = re.fullmatch(rf"{re.escape(family.blocks)}\.(\d+)(?:\.(.+))?", name)
    lens = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if path:
        kinds: dict[str, Kind] = {"": "resid_post", family.mlp_out: "mlp_out", family.attn_z: "attn_z"}
        layer, part = int(path[1]), path[2] or ""
        examples = {f"{family.blocks}.{layer}" + (f".{known}" if known else "") for known in kinds}
    elif lens:
        kinds, layer, part = _HOOK_NAMES, int(lens[1]), lens[2]
        examples = {f"blocks.{layer}.{known}" for known in kinds}
    else:
        kinds, layer, part = {}, 0, name
        examples = {f"blocks.0.{known}" for known in _HOOK_NAMES} | {f"{family.blocks}.0"}
    if part not in kinds:
        raise unknown("site", name, examples)
    if layer >= config.num_hidden_layers:
        raise RegistryError(
            f"Site '{name}' names layer {layer}, but the model has {config.num_hidden_layers} layers "
            f"(0 to {config.num_hidden_layers - 1})."
        )
    return Site(layer, kinds[part])


def locate(model: PreTrainedModel, site: Site) -> Site:
    """Where a site of the dense model is in `model`, which structured compression may have made smaller.

    The residual stream before and after a block that was taken out is the one that passes there now.

    Raises:
        Impossible: what the site reads is not there any more, or has lost channels.
    """
    kept = kept_blocks(model)
    if site.layer not in kept:
        if site.kind in ("mlp_out", "attn_z"):
            raise Impossible(f"Block {site.layer} was taken out of the model, and {site.name} with it.")
        n_before = sum(index < site.layer for index in kept)
        return Site(n_before - 1, "resid_post") if n_before > 0 else Site(0, "resid_pre")
    found = replace(site, layer=kept.index(site.layer))
    if site.kind == "attn_z":
        family = family_of(model.config)
        inputs = kept_features(model, f"{family.blocks}.{found.layer}.{family.attn_z}").inputs
        if inputs is not None:
            raise Impossible(
                f"Heads were taken out of block {site.layer}: {site.name} has {len(inputs)} channels, and an SAE of "
                f"the dense model reads {site.width(model.config)}."
            )
    return found


def _hidden(value: Any) -> Tensor:
    """The hidden states in what a block takes or gives: some families wrap them in a tuple."""
    return value[0] if isinstance(value, tuple) else value


def _with_hidden(value: Any, hidden: Tensor) -> Any:
    return (hidden, *value[1:]) if isinstance(value, tuple) else hidden


@contextmanager
def edit(model: PreTrainedModel, site: Site, change: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """For the time of the context, pass the activations at `site` through `change`; None leaves them as they are.

    `change` maps `[batch, position, channel]` to the same shape. Hooks are removed whatever happens.
    """
    family = family_of(model.config)
    block = blocks_of(model)[site.layer]

    def on_output(_module: nn.Module, _args: Any, output: Any) -> Any:
        changed = change(_hidden(output))
        return None if changed is None else _with_hidden(output, changed)

    def on_input(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not args:
            changed = change(kwargs["hidden_states"])
            return None if changed is None else (args, {**kwargs, "hidden_states": changed})
        changed = change(args[0])
        return None if changed is None else ((changed, *args[1:]), kwargs)

    if site.kind == "resid_pre":
        handle = block.register_forward_pre_hook(on_input, with_kwargs=True)
    elif site.kind == "attn_z":
        handle = block.get_submodule(family.attn_z).register_forward_pre_hook(on_input, with_kwargs=True)
    elif site.kind == "mlp_out":
        handle = block.get_submodule(family.mlp_out).register_forward_hook(on_output)
    else:
        handle = block.register_forward_hook(on_output)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def capture(model: PreTrainedModel, sites: Sequence[Site]) -> Iterator[dict[Site, Tensor]]:
    """For the time of the context, every forward pass leaves the activations at `sites` in the dict that is given.

    Each is `[batch, position, channel]`, in the model's dtype, without gradient.
    """
    captured: dict[Site, Tensor] = {}

    def keep(site: Site) -> Callable[[Tensor], None]:
        def change(hidden: Tensor) -> None:
            captured[site] = hidden.detach()

        return change

    with ExitStack() as stack:
        for site in sites:
            stack.enter_context(edit(model, site, keep(site)))
        yield captured


@contextmanager
def splice(model: PreTrainedModel, site: Site, replacement: Float[Tensor, "batch position channel"]) -> Iterator[None]:
    """For the time of the context, the activations at `site` are `replacement`, cast to the model's dtype."""
    with edit(model, site, lambda hidden: replacement.to(hidden)):
        yield


@contextmanager
def skip_blocks(
    model: PreTrainedModel, first_block: int, hidden: Float[Tensor, "batch position d_model"]
) -> Iterator[None]:
    """For the time of the context, `first_block` starts from `hidden`, and the blocks before it do no work.

    The model is then called as usual: masks, position embeddings and what else it prepares for its blocks are its own,
    so the result is the one of a whole forward pass to the bit. With `first_block == 0` nothing is skipped and
    `hidden` replaces the embeddings.
    """
    if first_block == 0:
        with splice(model, Site(0, "resid_pre"), hidden):
            yield
        return
    skipped = list(blocks_of(model))[:first_block]
    result: Any = (hidden,) if family_of(model.config).blocks_give_tuples else hidden
    for block in skipped:
        block.forward = lambda *_args, **_kwargs: result
    try:
        yield
    finally:
        for block in skipped:
            del block.forward


class _Read(Exception):
    """Ends a forward pass once all sites have been read."""


def read(
    model: PreTrainedModel, tokens: Int[Tensor, "batch position"], sites: Sequence[Site]
) -> dict[Site, Float[Tensor, "batch position _"]]:
    """The activations at some sites; the layers after the last of them are not run."""
    found: dict[Site, Tensor] = {}

    def keep(site: Site) -> Callable[[Tensor], None]:
        def change(hidden: Tensor) -> None:
            found[site] = hidden.detach()
            if len(found) == len(set(sites)):
                raise _Read

        return change

    with ExitStack() as stack:
        stack.enter_context(suppress(_Read))
        for site in set(sites):
            stack.enter_context(edit(model, site, keep(site)))
        last_hidden(model, tokens)
    return found


def replay_needs(site: Site) -> Site:
    """The residual stream from which `last_hidden_spliced` replays the blocks after `site`."""
    return site if site.kind in ("resid_pre", "resid_post") else Site(site.layer, "resid_pre")


def last_hidden(
    model: PreTrainedModel, tokens: Int[Tensor, "batch position"]
) -> Float[Tensor, "batch position d_model"]:
    """The final hidden states (after the last norm), which the unembedding turns into logits.

    Tokens are padded on the right: under a causal mask no valid position sees the padding, so no attention mask is
    needed and attention takes its fast path.
    """
    return model.base_model(input_ids=tokens, use_cache=False).last_hidden_state


def last_hidden_spliced(
    model: PreTrainedModel,
    tokens: Int[Tensor, "batch position"],
    site: Site,
    replacement: Float[Tensor, "batch position channel"],
    stream: Float[Tensor, "batch position d_model"],
) -> Float[Tensor, "batch position d_model"]:
    """`last_hidden` with the activations at `site` replaced, running only the blocks that this changes.

    Args:
        stream: the unspliced residual stream at `replay_needs(site)`; where that is the site itself it is not read.
    """
    dtype = next(model.parameters()).dtype
    if site.kind == "resid_post":
        with skip_blocks(model, site.layer + 1, replacement.to(dtype)):
            return last_hidden(model, tokens)
    if site.kind == "resid_pre":
        with skip_blocks(model, site.layer, replacement.to(dtype)):
            return last_hidden(model, tokens)
    with skip_blocks(model, site.layer, stream), splice(model, site, replacement):
        return last_hidden(model, tokens)
