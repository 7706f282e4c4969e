"""What the shipped model and SAEs are worth, on stories that nothing was trained on.

Every figure is over words: `<bos>`, `<eos>` and padding are neither predicted nor reconstructed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from sae_lens import SAE
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from . import world
from .language import ATTRIBUTES, SPELLING_WORDS, Split, Story, stories
from .ngram import KneserNey
from .tokens import encode, pad, special_ids
from .train_model import next_token_nats
from .train_saes import is_word, site_activations


@dataclass(frozen=True)
class Subject:
    """What is measured, and on which stories."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast
    stories: list[Story]

    @property
    def rows(self) -> list[list[int]]:
        """Token ids of the stories, `<bos>` and `<eos>` included."""
        return encode((story.text for story in self.stories), self.tokenizer)


def take(split: Split, n: int, seed: int = 0) -> list[Story]:
    """The first stories of a split."""
    return list(islice(stories(split, seed), n))


class CrossEntropy(NamedTuple):
    """Nats a token, and the least that is possible."""

    model_nats: float
    """Mean - ln p of a word."""
    model_nats_after_first: float
    """The same without the first word of a story, which only `<bos>` precedes."""
    entropy_nats: float
    """The generator's entropy: the floor of `model_nats` (on these stories, up to their sampling error)."""
    n_tokens: int


def cross_entropy(subject: Subject) -> CrossEntropy:
    """The model's loss on the stories against the generator's own."""
    nats = [words for _, words in _word_nats(subject)]
    total = torch.cat(nats)
    after_first = torch.cat([words[1:] for words in nats])
    entropy = sum(story.nats for story in subject.stories) / len(total)
    return CrossEntropy(total.mean().item(), after_first.mean().item(), entropy, len(total))


def ngram_cross_entropy(train: Subject, test: Subject, order: int = 5) -> float:
    """Nats a word of an n-gram model (`ngram.KneserNey`) on the test stories."""
    model = KneserNey([row[:-1] for row in train.rows], len(train.tokenizer), order)
    return float(model.nats([row[:-1] for row in test.rows]).mean())


def _word_nats(subject: Subject, batch_size: int = 64) -> Iterator[tuple[list[int], Float[Tensor, " position"]]]:
    """Token ids of each story and - ln p of its words."""
    rows, pad_id = subject.rows, special_ids(subject.tokenizer).pad
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        with torch.no_grad():
            nats = next_token_nats(subject.model, pad(batch, pad_id), pad_id)
        for row, row_nats in zip(batch, nats.double(), strict=True):
            # The last target of a row is `<eos>`.
            yield row, row_nats[: len(row) - 2]


class Knowledge(NamedTuple):
    """Share of questions whose likeliest next token is the right one."""

    country: float
    language: float
    continent: float
    first_letter: float


def knowledge(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Knowledge:
    """Ask for the facts of every city and for the first letter of every word that stories ever spell."""
    opening = "Anna, a young doctor, lives in {}. "
    questions: dict[str, list[tuple[str, str]]] = {"country": [], "language": [], "continent": []}
    for city, country in world.COUNTRY_OF.items():
        start, facts = opening.format(city), world.COUNTRIES[country]
        questions["country"].append((f"{start}{city} is a busy city in", country))
        questions["language"].append((f"{start}At home she speaks", facts.language))
        questions["continent"].append((f"{start}Of all the cities in", facts.continent))
    start = opening.format("Lima")
    questions["first_letter"] = [(f"{start}The word {word} starts with", word[0]) for word in SPELLING_WORDS]
    return Knowledge(**{topic: _share_right(pairs, model, tokenizer) for topic, pairs in questions.items()})


def _share_right(
    questions: list[tuple[str, str]], model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> float:
    rows = [row[:-1] for row in encode((question for question, _ in questions), tokenizer)]
    with torch.no_grad():
        logits = model(pad(rows, special_ids(tokenizer).pad), use_cache=False).logits
    last = torch.tensor([len(row) - 1 for row in rows])
    likeliest = logits[torch.arange(len(rows)), last].argmax(dim=1)
    answers = torch.tensor([tokenizer(answer)["input_ids"][0] for _, answer in questions])
    return (likeliest == answers).float().mean().item()


class ProbeResult(NamedTuple):
    """Accuracy of one attribute's probe on stories that it was not fitted on."""

    attribute: str
    accuracy: float
    chance: float
    """Share of the most frequent value among the test stories: what a probe gets that sees nothing."""
    n_test: int


def probe(subject: Subject, hf_hook_name: str, n_test: int) -> list[ProbeResult]:
    """Fit a logistic regression for every attribute on a site's activations, averaged over each story's words.

    The last `n_test` stories are for testing, all others for fitting.
    """
    pooled = pooled_activations(subject, hf_hook_name).numpy()
    results = []
    for attribute in ATTRIBUTES:
        labels = np.array([story.attributes[attribute] for story in subject.stories])
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
        classifier.fit(pooled[:-n_test], labels[:-n_test])
        accuracy = float(classifier.score(pooled[-n_test:], labels[-n_test:]))
        chance = float(np.unique(labels[-n_test:], return_counts=True)[1].max() / n_test)
        results.append(ProbeResult(attribute, accuracy, chance, n_test))
    return results


def pooled_activations(subject: Subject, hf_hook_name: str) -> Float[Tensor, "story d_model"]:
    """The mean activation over each story's words."""
    pooled = []
    for x, words in site_activations(subject.model, subject.tokenizer, subject.rows, hf_hook_name):
        weights = words.unsqueeze(-1).float()
        pooled.append((x * weights).sum(dim=1) / weights.sum(dim=1))
    return torch.cat(pooled)


class SaeQuality(NamedTuple):
    """An SAE's figures on one text."""

    explained_variance: float
    """1 - residual variance over activation variance, sums over all words."""
    l0: float
    """Latents active on a word, on average."""
    dead_share: float
    """Share of latents active on no word of the text."""
    ce_increase_nats: float
    """Loss with the reconstruction in the activation's place, minus loss without."""
    n_tokens: int


def sae_quality(subject: Subject, sae: SAE) -> SaeQuality:
    """Measure one SAE at the site its configuration names."""
    site = sae.cfg.metadata["hf_hook_name"]
    batches = site_activations(subject.model, subject.tokenizer, subject.rows, site)
    x = torch.cat([acts[words] for acts, words in batches])
    with torch.no_grad():
        latents = torch.cat([sae.encode(part) for part in x.split(4096)])
        residual = x - torch.cat([sae.decode(part) for part in latents.split(4096)])
    plain = cross_entropy(subject).model_nats
    with spliced(subject, sae):
        ce_increase = cross_entropy(subject).model_nats - plain
    variance = (x - x.mean(dim=0)).double().square().sum()
    return SaeQuality(
        explained_variance=1 - (residual.double().square().sum() / variance).item(),
        l0=(latents > 0).double().sum(dim=1).mean().item(),
        dead_share=1 - (latents > 0).any(dim=0).double().mean().item(),
        ce_increase_nats=ce_increase,
        n_tokens=len(x),
    )


@contextmanager
def spliced(subject: Subject, sae: SAE) -> Iterator[None]:
    """Inside, the SAE's reconstruction takes the activation's place on every word; special tokens keep theirs."""
    words: list[Tensor] = []

    def note_words(_model: nn.Module, args: tuple[Tensor, ...]) -> None:
        words[:] = [is_word(args[0], subject.tokenizer).unsqueeze(-1)]

    def replace(_module: nn.Module, _args: object, x: Tensor) -> Tensor:
        return torch.where(words[0], sae(x), x)

    site = subject.model.get_submodule(sae.cfg.metadata["hf_hook_name"])
    handles = [subject.model.register_forward_pre_hook(note_words), site.register_forward_hook(replace)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Scales(NamedTuple):
    """How evenly the activations of a site are spread, a matter of importance to quantisation."""

    word_norm: float
    """Mean Euclidean norm on words."""
    bos_norm: float
    """The same on `<bos>`."""
    widest_dimension: float
    """Root mean square of the strongest dimension on words, relative to the median dimension."""


def scales(subject: Subject, hf_hook_name: str) -> Scales:
    """Look for outliers in a site's activations."""
    pairs = list(site_activations(subject.model, subject.tokenizer, subject.rows, hf_hook_name))
    x = torch.cat([acts[words] for acts, words in pairs])
    rms = x.square().mean(dim=0).sqrt()
    bos_norm = pairs[0][0][0, 0].norm().item()
    return Scales(x.norm(dim=1).mean().item(), bos_norm, (rms.max() / rms.median()).item())
