"""Labelled documents, and words that are asked for their first letter, as token ids: for the pass that pools them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from ...registry import windows, words
from ...registry.errors import RegistryError
from ...registry.labelled import Labelled
from ...registry.labelled_rows import Document
from ...registry.microworld.language import SPELLING_WORDS
from ...registry.windows import Windows
from ...registry.words import Word
from ...tasks.absorption import LETTER, WORDS
from ...tasks.examples import ExampleSet
from .pooling import ExampleText, ExampleTexts, Split


def labelled_examples(
    text: Labelled, tokenizer: PreTrainedTokenizerBase, context: int, prepend_bos: bool
) -> ExampleTexts:
    """The first window of every document of both splits; documents without a valid token are left out.

    Raises:
        RegistryError: a split has no document with a token.
    """
    splits: dict[Split, ExampleText] = {}
    n_left_out = 0
    for split, documents in text.documents().items():
        splits[split], left_out = _split(documents, text.attributes, text.spurious, tokenizer, context, prepend_bos)
        n_left_out += left_out
        if not splits[split].windows.tokens:
            raise RegistryError(f"Labelled text '{text.name}' has no document with a token for its {split} split.")
    return ExampleTexts(ExampleSet(text.name, text.attributes, text.spurious), splits, n_left_out)


def word_examples(tokenizer: PreTrainedTokenizerBase, prepend_bos: bool, of_microworld: bool) -> ExampleTexts:
    """Words in a prompt that asks for their first letter, read at the word; none if the tokenizer takes none whole.

    Args:
        of_microworld: ask as its stories do, for the words that they ever spell.
    """
    prompt, among = (words.MICROWORLD, SPELLING_WORDS) if of_microworld else (words.SAEBENCH, None)
    found = words.words(tokenizer, prepend_bos=prepend_bos, prompt=prompt, among=among)
    special = windows.special_ids(tokenizer)
    by_split: dict[Split, Sequence[Word]] = {"train": found.train, "test": found.test}
    splits: dict[Split, ExampleText] = {}
    for split, chosen in by_split.items():
        tokens = tuple(torch.tensor(word.tokens) for word in chosen)
        splits[split] = ExampleText(
            Windows(tokens, tuple(range(len(chosen))), special),
            {LETTER: [word.letter for word in chosen]},
            [word.position for word in chosen],
        )
    return ExampleTexts(ExampleSet(WORDS, (LETTER,)), splits, n_left_out=0)


def _split(
    documents: Sequence[Document],
    attributes: Sequence[str],
    spurious: Sequence[tuple[str, str]],
    tokenizer: PreTrainedTokenizerBase,
    context: int,
    prepend_bos: bool,
) -> tuple[ExampleText, int]:
    special = set(windows.special_ids(tokenizer))
    texts = [document.text for document in documents]
    cut = windows.one_each(texts, tokenizer, context=context, prepend_bos=prepend_bos)
    kept = [index for index, tokens in enumerate(cut) if set(tokens.tolist()) - special]
    names = dict.fromkeys([*attributes, *(name for pair in spurious for name in pair)])
    labels = {name: [documents[index].labels.get(name) for index in kept] for name in names}
    found = Windows(tuple(cut[index] for index in kept), tuple(range(len(kept))), tuple(sorted(special)))
    return ExampleText(found, labels), len(cut) - len(kept)
