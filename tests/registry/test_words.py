"""Words are those that a tokenizer takes whole, in the prompt in which it has to."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from saetransfer.registry.errors import RegistryError
from saetransfer.registry.microworld import MODEL_FOLDER
from saetransfer.registry.microworld.language import SPELLING_WORDS
from saetransfer.registry.words import MICROWORLD, SAEBENCH, WordPrompt, words

TEXTS = tuple(f"{first}{second}" for first in "abcdefgh" for second in ("at", "ome", "in", "und", "ell"))
PROMPT_WORDS = ("has", "the", "first", "letter", ":", "\n")
BARE = WordPrompt(examples=0)


def wrapped(core: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def byte_level() -> PreTrainedTokenizerBase:
    """As GPT-2's: a space belongs to the word after it."""
    return wrapped(_bpe("Ġ", [], pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()))


def sentencepiece() -> PreTrainedTokenizerBase:
    """As Llama's: a space is a letter like others, and one is put in front of every text."""
    return wrapped(_bpe("▁", ["\n"], pre_tokenizers.Metaspace(), decoders.Metaspace()))


def _bpe(mark: str, more: list[str], before: pre_tokenizers.PreTokenizer, after: decoders.Decoder) -> Tokenizer:
    """Words are whole after a space; `cat` is a token without one too, and `zebra` only without one."""
    pieces = ["<s>", "</s>", "<unk>", mark, *more, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    spelled = [mark + word for word in (*TEXTS, "has", "the", "first", "letter")] + ["cat", "zebra", mark + "x9", "9"]
    for word in spelled:
        vocabulary.setdefault(word, len(vocabulary))
    core = Tokenizer(models.BPE(vocabulary, [], ignore_merges=True, unk_token="<unk>"))
    core.pre_tokenizer, core.decoder = before, after
    return core


def word_level() -> PreTrainedTokenizerBase:
    """Every word is a token, and spaces are none."""
    vocabulary = {word: index for index, word in enumerate(("<s>", "</s>", "<unk>", *PROMPT_WORDS, *TEXTS))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    return wrapped(core)


@pytest.mark.parametrize("make", [byte_level, sentencepiece, word_level])
@pytest.mark.parametrize("prepend_bos", [True, False])
@pytest.mark.parametrize("prompt", [SAEBENCH, BARE])
def test_the_position_is_that_of_the_word(make: object, prepend_bos: bool, prompt: WordPrompt) -> None:
    tokenizer = make()  # type: ignore[operator]
    splits = words(tokenizer, prepend_bos=prepend_bos, prompt=prompt)
    found = [*splits.train, *splits.test]
    assert {word.text for word in found} >= set(TEXTS)
    for word in found:
        token = tokenizer.convert_ids_to_tokens(word.tokens[word.position])
        assert token.lstrip("Ġ▁") == word.text
        assert word.letter == word.text[0]
        assert (word.tokens[0] == tokenizer.bos_token_id) == prepend_bos
        if make is not sentencepiece:  # whose toy has no token for a colon
            assert word.position - len(word.tokens) == -6  # SAEBench's position


def test_only_letters_after_a_space_are_words() -> None:
    splits = words(byte_level(), prepend_bos=False)
    found = {word.text for word in (*splits.train, *splits.test)}
    assert found == {*TEXTS, "has", "the", "first", "letter"}


def test_examples_teach_the_letter_from_words_to_fit_on_and_never_give_the_word_away() -> None:
    tokenizer = byte_level()
    splits = words(tokenizer, prepend_bos=False)
    taught = {word.text for word in splits.train}
    for word in splits.test:
        *examples, last = str(tokenizer.decode(word.tokens)).split("\n")[1:]
        assert last == f" {word.text} has the first letter:"
        assert len(examples) == 10
        for example in examples:
            text, answer = example.strip().split(" has the first letter: ")
            assert (answer, text in taught) == (text[0].upper(), True)
    for word in splits.train:
        assert tokenizer.decode(word.tokens).count(f" {word.text} ") == 1 or word.text in ("has", "the", "first")


def test_order_and_split_follow_from_the_words_alone() -> None:
    whole, same = (words(byte_level(), prepend_bos=True) for _ in range(2))
    assert whole == same
    fewer = words(byte_level(), prepend_bos=True, most=12)
    assert len(fewer.train) + len(fewer.test) == 12
    other = words(word_level(), prepend_bos=True)
    for mine, theirs in ((whole.train, other.train), (whole.test, other.test), (fewer.test, whole.test)):
        assert {word.text for word in mine if word.text in TEXTS} <= {word.text for word in theirs}
    assert 0.6 < len(whole.train) / (len(whole.train) + len(whole.test)) < 0.95


def test_spellings_that_differ_in_case_alone_are_on_the_same_side() -> None:
    vocabulary = ["<s>", "</s>", "<unk>", *PROMPT_WORDS, *TEXTS, *(text.capitalize() for text in TEXTS)]
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(vocabulary)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    splits = words(wrapped(core), prepend_bos=True, prompt=BARE)
    train, test = ({word.text for word in side} for side in (splits.train, splits.test))
    assert {text.lower() for text in train}.isdisjoint(text.lower() for text in test)
    assert {word.letter for word in splits.train} <= set("abcdefghltfsn")


def test_the_microworld_spells_as_its_stories_do() -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL_FOLDER)
    splits = words(tokenizer, prepend_bos=True, prompt=MICROWORLD, among=set(SPELLING_WORDS))
    assert {word.text for word in (*splits.train, *splits.test)} == set(SPELLING_WORDS)
    (word,) = (word for word in (*splits.train, *splits.test) if word.text == "apple")
    assert str(tokenizer.decode(word.tokens)).split() == ["<bos>", "The", "word", "apple", "starts", "with"]


def test_a_tokenizer_may_have_no_words_and_a_prompt_without_a_place_is_refused() -> None:
    core = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "<unk>": 2, "12": 3}, unk_token="<unk>"))
    found = words(wrapped(core), prepend_bos=True)
    assert (found.train, found.test) == ((), ())
    with pytest.raises(RegistryError, match="must hold {word} once"):
        words(byte_level(), prepend_bos=True, prompt=WordPrompt("no place"))
