"""Documents become windows: nothing joined, nothing lost, nothing special counted."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from saetransfer.registry.errors import RegistryError
from saetransfer.registry.windows import MAX_UNITS, Windows, collect, cut, sample

DOCUMENTS = ["a b c d e f g", "", "h i", "j", "k l m n o p q r s"]
WORDS = {word: index for index, word in enumerate(["<s>", "</s>", "<pad>", "<unk>", *"abcdefghijklmnopqrstuvwxyz"])}


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def whole(tokenizer: PreTrainedTokenizerFast, tokens: int = 1000, context: int = 4, bos: bool = True) -> Windows:
    return collect(DOCUMENTS, tokenizer, tokens=tokens, context=context, prepend_bos=bos)


def test_every_token_of_every_document_is_in_exactly_one_window_in_order(tokenizer: PreTrainedTokenizerFast) -> None:
    joined = {}
    for number, window in cut(DOCUMENTS, tokenizer, 4, prepend_bos=True):
        assert len(window) <= 4
        assert window[0] == WORDS["<s>"]
        joined.setdefault(number, []).extend(window[1:].tolist())
    words = {number: [WORDS[word] for word in document.split()] for number, document in enumerate(DOCUMENTS)}
    assert joined == {number: ids for number, ids in words.items() if ids}


def test_without_bos_windows_hold_one_token_more(tokenizer: PreTrainedTokenizerFast) -> None:
    assert max(len(window) for window in whole(tokenizer, bos=False).tokens) == 4
    assert all(WORDS["<s>"] not in window for window in whole(tokenizer, bos=False).tokens)


@pytest.mark.parametrize("tokens", [1, 3, 7, 10, 19])
def test_exactly_as_many_tokens_are_taken_as_asked_for(tokenizer: PreTrainedTokenizerFast, tokens: int) -> None:
    text = whole(tokenizer, tokens=tokens)
    assert sum(len(window) - 1 for window in text.tokens) == tokens


def test_a_short_text_gives_all_it_has(tokenizer: PreTrainedTokenizerFast) -> None:
    assert sum(len(window) - 1 for window in whole(tokenizer).tokens) == 19


def test_batches_hold_every_window_once_and_mark_only_text_as_valid(tokenizer: PreTrainedTokenizerFast) -> None:
    text = whole(tokenizer)
    for max_positions in (1, 8, 1000):
        rows: list[int] = []
        for batch in text.batches(max_positions):
            rows += batch.rows.tolist()
            assert batch.tokens.shape[0] == 1 or batch.tokens.numel() <= max_positions
            for index, row in enumerate(batch.rows.tolist()):
                window = text.tokens[row]
                assert torch.equal(batch.tokens[index, : len(window)], window)
                assert batch.valid[index].tolist() == [0 < i < len(window) for i in range(batch.tokens.shape[1])]
                # Scored are valid positions with a valid successor: all but BOS and the last word.
                assert int(batch.scored[index].sum()) == len(window) - 2
                assert batch.unit[index].eq(text.units[row]).all()
        assert sorted(rows) == list(range(len(text.tokens)))


def test_special_tokens_within_a_text_do_not_count(tokenizer: PreTrainedTokenizerFast) -> None:
    text = collect(["a b </s> c d"], tokenizer, tokens=100, context=16, prepend_bos=True)
    batch = next(text.batches(100))
    assert batch.valid[0].tolist() == [False, True, True, False, True, True]
    assert batch.scored[0].tolist() == [False, True, False, False, True, False]


def test_documents_are_the_units_and_are_dealt_out_when_there_are_many(tokenizer: PreTrainedTokenizerFast) -> None:
    assert whole(tokenizer).units == (0, 0, 0, 1, 2, 3, 3, 3)
    many = collect(["a b"] * (3 * MAX_UNITS), tokenizer, tokens=10**6, context=8, prepend_bos=True)
    assert many.n_units == MAX_UNITS
    alone = collect(["a b c d e f"], tokenizer, tokens=10**6, context=3, prepend_bos=True, windows_are_units=True)
    assert alone.units == (0, 1, 2)


def test_a_text_without_tokens_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(RegistryError, match="no tokens"):
        collect(["", ""], tokenizer, tokens=10, context=4, prepend_bos=True)


def drawn(tokenizer: PreTrainedTokenizerFast, sequences: int, seed: int = 0) -> list[list[int]]:
    many = [f"{a} {b} {c}" for a in "abcdef" for b in "ghijkl" for c in "mnopqr"] + ["s t"] * 50
    windows = sample(many, tokenizer, sequences=sequences, context=4, prepend_bos=True, seed=seed)
    return [window.tolist() for window in windows]


def test_calibration_windows_are_drawn_at_random_by_the_seed_and_full_ones_first(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    assert drawn(tokenizer, 20) == drawn(tokenizer, 20) != drawn(tokenizer, 20, seed=1)
    assert all(len(window) == 4 for window in drawn(tokenizer, 20))
    everything = drawn(tokenizer, 1000)
    assert [len(window) for window in everything] == [4] * 216 + [3] * 50
    assert len({tuple(window) for window in everything}) == 217
