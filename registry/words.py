"""Words whose first letter a model may know: those that its tokenizer really takes whole, each in a prompt.

A word is a token of letters only that stands for them after a space (`Ġapple`, `▁apple`; or any token of letters where
the tokenizer marks no spaces). Whether it does is not read off the vocabulary but tried, in the prompt itself: words
that come out in pieces there are left out.

The prompt is SAEBench's (`evals/absorption/prompting.py`, 0.6.0): ten worked examples, one a line, then the word and
" has the first letter:". A causal model reads the word before what follows it, so the examples alone tell it what is
asked. Activations are taken at the word's last (and only) token: position -6 of that prompt.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from .errors import RegistryError
from .windows import bos_id

_SPACE_MARKS = ("Ġ", "▁")
_CONTINUES = "##"
# Four fifths of the words to fit probes on, as in SAEBench.
_TRAIN_BELOW = 0.8


@dataclass(frozen=True)
class WordPrompt:
    """What stands around a word."""

    template: str = "{word} has the first letter:"
    """Holds `{word}`, which a space comes before."""
    answer: str = " {capital}"
    """What worked examples have after the template: `{letter}` or, as a capital, `{capital}`."""
    separator: str = "\n"
    """Before every example and before the word's own line."""
    examples: int = 10


SAEBENCH = WordPrompt()
MICROWORLD = WordPrompt("The word {word} starts with", " {letter}.", " ", 0)
"""As the microworld's stories say it, one word a story."""
MOST_WORDS = 10_000
"""Words at most, both splits together."""


@dataclass(frozen=True)
class Word:
    """A word in its prompt."""

    text: str
    letter: str
    """Its first letter, lower case."""
    tokens: tuple[int, ...]
    """Token ids of the whole prompt, BOS included where it is wanted."""
    position: int
    """Of the word's token among them."""


@dataclass(frozen=True)
class WordSplits:
    """Words to fit on and to test on; spellings that differ in case alone are on the same side."""

    train: tuple[Word, ...]
    test: tuple[Word, ...]


def words(
    tokenizer: PreTrainedTokenizerBase,
    *,
    prepend_bos: bool,
    most: int | None = MOST_WORDS,
    prompt: WordPrompt = SAEBENCH,
    among: Collection[str] | None = None,
) -> WordSplits:
    """The words of a tokenizer in an order, and with a split, that follow from the words alone; maybe none.

    Args:
        most: words at most, both splits together; which ones does not depend on the tokenizer's order.
        among: take these words only (those that a small model was ever asked to spell); None: all.

    Raises:
        RegistryError: the template has no `{word}`.
    """
    if prompt.template.count("{word}") != 1:
        raise RegistryError(f"The prompt '{prompt.template}' must hold {{word}} once.")
    wanted = (word for word in _vocabulary(tokenizer) if among is None or word in among)
    ordered = sorted(wanted, key=lambda word: (_share(word), word))
    bare = WordPrompt(prompt.template, prompt.answer, prompt.separator, 0)
    whole = [word.text for word in _in_prompts(ordered, [], tokenizer, bare, prepend_bos)][:most]
    pool = [word for word in whole if _is_train(word)]
    found = list(_in_prompts(whole, pool, tokenizer, prompt, prepend_bos))
    train = tuple(word for word in found if _is_train(word.text))
    return WordSplits(train, tuple(word for word in found if not _is_train(word.text)))


def _vocabulary(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """Words of ASCII letters that the vocabulary has a token for, with the space in front where it marks spaces."""
    tokens = list(tokenizer.get_vocab())
    marked = [token[1:] for token in tokens if token.startswith(_SPACE_MARKS)]
    candidates = marked or [token for token in tokens if not token.startswith(_CONTINUES)]
    return {word for word in candidates if word and set(word) <= set(string.ascii_letters)}


def _share(word: str) -> float:
    """Where a word stands between 0 and 1, by a hash of it whatever its case."""
    return int.from_bytes(hashlib.sha256(word.lower().encode()).digest()[:8], "big") / 2**64


def _is_train(word: str) -> bool:
    # Another hash than the one that orders: otherwise the first words would all be on one side.
    return _share(f"split {word}") < _TRAIN_BELOW


def _in_prompts(
    texts: Sequence[str],
    pool: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    prompt: WordPrompt,
    prepend_bos: bool,
) -> Iterator[Word]:
    """Those of the words that are one token in their prompt."""
    if not texts:
        return
    heads = [_head(text, pool, prompt) for text in texts]
    tail = prompt.template.partition("{word}")[2]
    before = _ids(tokenizer, heads)
    up_to = _ids(tokenizer, [head + " " + text for head, text in zip(heads, texts, strict=True)])
    whole = _ids(tokenizer, [head + " " + text + tail for head, text in zip(heads, texts, strict=True)])
    first_token = bos_id(tokenizer) if prepend_bos else None
    bos = () if first_token is None else (first_token,)
    for text, first, middle, last in zip(texts, before, up_to, whole, strict=True):
        if middle[:-1] == first and last[: len(middle)] == middle and _spells(tokenizer, middle[-1], text):
            yield Word(text, text[0].lower(), (*bos, *last), len(bos) + len(middle) - 1)


def _spells(tokenizer: PreTrainedTokenizerBase, token: int, text: str) -> bool:
    return str(tokenizer.convert_ids_to_tokens(token)).lstrip("".join(_SPACE_MARKS)) == text


def _ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    return tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]


def _head(text: str, pool: Sequence[str], prompt: WordPrompt) -> str:
    """All that stands before the word and its space."""
    before, _, after = prompt.template.partition("{word}")
    lines = [
        f"{before.rstrip()} {example}{after}"
        + prompt.answer.format(letter=example[0].lower(), capital=example[0].upper())
        for example in _examples(text, pool, prompt.examples)
    ]
    return "".join(prompt.separator + line for line in lines) + prompt.separator + before.rstrip()


def _examples(text: str, pool: Sequence[str], n: int) -> list[str]:
    """Words of the pool that follow from the word, itself not among them."""
    others = min(n, len([word for word in pool if word != text]))
    chosen: dict[str, None] = {}
    number = 0
    while len(chosen) < others:
        drawn = pool[int(_share(f"{text} {number}") * len(pool))]
        number += 1
        if drawn != text:
            chosen[drawn] = None
    return list(chosen)
