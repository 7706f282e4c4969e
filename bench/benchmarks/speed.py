"""What measuring SAEs on a state costs, against SAELens' `run_evals` and against the floor.

The floor is the bare work that no harness is spared: one forward pass of the state with its unembedding; for zero and
mean ablation and for each SAE the layers after the site and the unembedding; for each SAE encoding and decoding. No
metric is computed and nothing is kept. All three are timed in this process, in turn, on the same windows.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from sae_lens import SAE
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PretrainedConfig, PreTrainedModel

from ...registry import models, sites
from ...registry.sites import Site
from ...registry.unembedding import Unembedding
from ...registry.windows import Windows
from ...tasks.estimate import estimate
from ...tasks.perplexity import Perplexity
from ...tasks.reconstruction import Reconstruction
from ...tasks.task import TextTask
from ..measuring.batching import max_positions
from ..measuring.measure import Subject, measure
from ..measuring.reading import read
from .compressing import THREADS
from .saelens import THE_SAME, Bridge, bridged, saelens_activations, saelens_figures
from .shapes import random_sae

_COUNTS = (1, 4, 16)
"""Numbers of SAEs at one site."""
_TASKS: tuple[TextTask, ...] = (Reconstruction(), Perplexity())
_LENGTH = 128


@dataclass(frozen=True)
class Shape:
    """A model of random weights with SAEs of random weights: figures of cost, not of quality."""

    title: str
    config: PretrainedConfig
    site: Site
    d_sae: int
    k: int
    n_windows: int
    batch_windows: int
    """Windows that SAELens runs at once; our batches follow from the shape."""
    rounds: int


SHAPES = (
    Shape(
        "Llama, 5 layers, 64 wide, vocabulary 512 (that of stories260K)",
        LlamaConfig(
            vocab_size=512, hidden_size=64, intermediate_size=172, num_hidden_layers=5, num_attention_heads=8,
            num_key_value_heads=4, max_position_embeddings=512, bos_token_id=0, eos_token_id=1, pad_token_id=2,
            initializer_range=0.2,
        ),
        Site(2, "resid_post"), d_sae=1024, k=32, n_windows=256, batch_windows=32, rounds=2,
    ),
    Shape(
        "GPT-2, 12 layers, 768 wide, vocabulary 50,257 (124M parameters)",
        GPT2Config(bos_token_id=0, eos_token_id=0, initializer_range=0.1),
        Site(8, "resid_post"), d_sae=24_576, k=32, n_windows=8, batch_windows=8, rounds=2,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A shape, made."""

    shape: Shape
    model: PreTrainedModel
    saes: Sequence[SAE[Any]]
    text: Windows
    bridge: Bridge
    """The same model, as SAELens runs it."""


def section() -> str:
    """A table for each shape."""
    torch.set_num_threads(THREADS)
    return (
        "Metrics of the tasks reconstruction and perplexity with their intervals, SAELens with all that `run_evals` "
        f"can measure; TopK SAEs at one site, windows of {_LENGTH} tokens, float32, weights random. Medians. Which "
        "latents are the largest is now and then a matter of rounding, where two of them are all but equal: the last "
        "column leaves out SAEs that fire another latent on SAELens' activations than on ours.\n\n"
        + "\n\n".join(_table(shape) for shape in SHAPES)
    )


def _table(shape: Shape) -> str:
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        scene = scene_of(shape, Path(name), max(_COUNTS))
        rounds = [_round(scene, backwards=number % 2 == 1) for number in range(shape.rounds)]
        differing = _tokens_of_other_latents(scene)
    rows = [
        f"{shape.title}; site {shape.site.name}, {shape.d_sae:,} latents, {shape.n_windows * _LENGTH:,} tokens:\n",
        "| SAEs | saetransfer | SAELens | times faster | floor | times the floor | largest relative difference "
        "| with the same latents |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for count in _COUNTS:
        ours, theirs, floor = (median(one[what][count] for one in rounds) for what in ("ours", "theirs", "floor"))
        faster = median(one["theirs"][count] / one["ours"][count] for one in rounds)
        above = median(one["ours"][count] / one["floor"][count] for one in rounds)
        apart = [max(one["apart"][number] for one in rounds) for number in range(count)]
        alike = [value for value, n_tokens in zip(apart, differing, strict=False) if not n_tokens]
        rows.append(
            f"| {count} | {ours:.2f} s | {theirs:.2f} s | {faster:.1f} | {floor:.2f} s | {above:.2f} "
            f"| {max(apart):.0e} | {f'{max(alike):.0e}' if alike else ''} ({len(alike)} of {count}) |"
        )
    return "\n".join(rows)


def scene_of(shape: Shape, folder: Path, n_saes: int) -> Scene:
    """The model, its SAEs and its text, all random."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(shape.config, dtype=torch.float32).eval()
    shape.config.architectures = [type(model).__name__]
    shape.config.save_pretrained(folder)
    tokens = torch.randint(3, shape.config.vocab_size - 3, (shape.n_windows, _LENGTH))
    text = Windows(tuple(tokens), tuple(range(shape.n_windows)), ())
    bridge = bridged(str(folder), model, models.load_tokenizer(models.resolve("microworld", Path())))
    d_in = shape.site.width(shape.config)
    saes = [random_sae(d_in, shape.d_sae, shape.k, shape.site.name) for _ in range(n_saes)]
    return Scene(shape, model, saes, text, bridge)


def _round(scene: Scene, backwards: bool) -> dict[str, dict[int, float]]:
    """Seconds of each by number of SAEs, and how far the figures of each SAE lie apart."""
    ours: dict[int, float] = {}
    floor: dict[int, float] = {}
    figures: dict[str, dict[str, float]] = {}
    theirs: dict[int, float] = {}

    def run_ours() -> None:
        for count in _COUNTS:
            start = time.perf_counter()
            figures.update(ours_of(scene, count))
            ours[count] = time.perf_counter() - start

    def run_floor() -> None:
        for count in _COUNTS:
            start = time.perf_counter()
            floor_of(scene, count)
            floor[count] = time.perf_counter() - start

    def run_theirs() -> None:
        start = time.perf_counter()
        for number, sae in enumerate(scene.saes):
            found[str(number)] = saelens_figures(
                scene.bridge, sae, scene.shape.site, scene.text, scene.shape.batch_windows
            )
            theirs[number + 1] = time.perf_counter() - start

    found: dict[str, dict[str, float]] = {}
    steps = [run_ours, run_theirs, run_floor]
    for step in reversed(steps) if backwards else steps:
        step()
    apart = {number: _apart(figures[str(number)], found[str(number)]) for number in range(len(scene.saes))}
    return {"ours": ours, "floor": floor, "theirs": theirs, "apart": apart}


def ours_of(scene: Scene, count: int) -> dict[str, dict[str, float]]:
    """The figures of the first SAEs, by number: the text is read, every task is counted, intervals are drawn."""
    site = scene.shape.site
    subjects = [
        Subject(str(number), site, sae, dense_site=site, origin="none is asked for", counterpart="none is asked for")
        for number, sae in enumerate(scene.saes[:count])
    ]
    with tempfile.TemporaryDirectory() as name:
        reading = read(scene.model, scene.text, [site], Path(name), lambda _: None)
        counted = measure(scene.model, reading, None, subjects, _TASKS, lambda _: None)
    return {
        name: {
            metric: found.value
            for task in _TASKS
            for metric, found in estimate(task.metrics, sums[task.name]).items()
            if found.value is not None
        }
        for name, sums in counted.items()
    }


def floor_of(scene: Scene, count: int) -> None:
    """The bare work for the first SAEs."""
    model, site = scene.model, scene.shape.site
    saes, unembedding = scene.saes[:count], Unembedding(scene.model)
    for batch in scene.text.batches(max_positions(model, saes)):
        with sites.capture(model, [site]) as captured:
            unembedding.logits(sites.last_hidden(model, batch.tokens))
        stream = captured[site]
        valid = batch.valid
        replacements = [torch.zeros_like(stream), stream[valid].mean(dim=0).expand_as(stream)]
        for number in range(count + len(replacements)):
            if number < len(replacements):
                spliced = replacements[number]
            else:
                sae = saes[number - len(replacements)]
                spliced = sae.decode(sae.encode(stream[valid])).view_as(stream)
            unembedding.logits(sites.last_hidden_spliced(model, batch.tokens, site, spliced, stream))


def _tokens_of_other_latents(scene: Scene) -> list[int]:
    """At how many tokens each SAE fires other latents on SAELens' activations than on ours."""
    shape, counts = scene.shape, [0] * len(scene.saes)
    for window in scene.text.tokens:
        theirs = saelens_activations(scene.bridge, shape.site, window)
        ours = sites.read(scene.model, window[None], [shape.site])[shape.site][0]
        for number, sae in enumerate(scene.saes):
            differs = (sae.encode(ours) > 0) != (sae.encode(theirs) > 0)
            counts[number] += int(differs.any(dim=-1).sum())
    return counts


def _apart(ours: dict[str, float], theirs: dict[str, float]) -> float:
    """The largest relative difference of metrics with one definition."""
    return max(
        abs(ours[mine] - theirs[name]) / max(abs(theirs[name]), 1e-6) for mine, name in THE_SAME.items() if mine in ours
    )
