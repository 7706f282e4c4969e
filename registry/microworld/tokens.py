"""From stories to token ids: the tokenizer, made once, and padded batches.

A byte-level BPE as GPT-2's, so that any text can be encoded, in which every word of the stories is one token together
with the space before it (`ignore_merges`, as in Llama 3: a word of the vocabulary is taken whole, only others are put
together by merges). A story's first word gets such a space too (`add_prefix_space`), hence a word is the same token
wherever it stands. No special token is added when encoding: who feeds the model adds `<bos>`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, cast

import torch
from jaxtyping import Int
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .language import Split, stories

BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"
MAX_POSITIONS = 256


class SpecialIds(NamedTuple):
    """Token ids of the special tokens."""

    bos: int
    eos: int
    pad: int


def train_tokenizer(n_pieces: int = 512, n_stories: int = 20_000, seed: int = 0) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the first stories of the training split.

    `n_pieces` tokens (special tokens, the 256 bytes, merges of these) are for text that is not of the microworld; the
    words of the stories come on top.
    """
    texts = [story.text for story in islice(stories("training", seed), n_stories)]
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=n_pieces,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=_with_whole_words(pieces, texts),
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )


def _with_whole_words(pieces: Tokenizer, texts: list[str]) -> Tokenizer:
    """The same tokenizer with every word of the texts in its vocabulary."""
    model = json.loads(pieces.to_str())["model"]
    words = {word for text in texts for word, _ in pieces.pre_tokenizer.pre_tokenize_str(text)}
    vocabulary: dict[str, int] = model["vocab"]
    for word in sorted(words - vocabulary.keys()):
        vocabulary[word] = len(vocabulary)
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pieces.pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The saved tokenizer."""
    return PreTrainedTokenizerFast.from_pretrained(folder)


def special_ids(tokenizer: PreTrainedTokenizerFast) -> SpecialIds:
    """The ids of `<bos>`, `<eos>` and `<pad>`."""
    return SpecialIds(*(cast(int, tokenizer.convert_tokens_to_ids(token)) for token in (BOS, EOS, PAD)))


def encode(texts: Iterable[str], tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    """Token ids of each text between `<bos>` and `<eos>`."""
    special = special_ids(tokenizer)
    ids = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [[special.bos, *row, special.eos] for row in ids]


def encoded_stories(
    split: Split, seed: int, tokenizer: PreTrainedTokenizerFast, at_a_time: int = 2048
) -> Iterator[list[int]]:
    """Endless token ids of a split's stories, one list a story."""
    source = stories(split, seed)
    while True:
        yield from encode((story.text for story in islice(source, at_a_time)), tokenizer)


def pad(rows: list[list[int]], pad_id: int) -> Int[Tensor, "batch position"]:
    """Rows as one tensor, filled up on the right: causal attention never sees the padding."""
    width = max(map(len, rows))
    return torch.tensor([row + [pad_id] * (width - len(row)) for row in rows])
