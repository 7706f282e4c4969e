"""The microworld: its labels are exact, its entropy is true, and the shipped model and SAEs have learnt it.

Bounds on the shipped files are far below what `MODEL_CARD.md` states, so that they hold on any processor and for the
few stories that fit into seconds.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from inspect import unwrap
from itertools import combinations, islice, product
from random import Random

import pytest
from sae_lens import SAE
from transformers import AutoModelForCausalLM, AutoTokenizer

from saetransfer.registry.microworld import MODEL_FOLDER, SAE_FOLDERS, grammar, language, measure, world
from saetransfer.registry.microworld.language import ATTRIBUTES, Split, Story, stories, tell
from saetransfer.registry.microworld.measure import ProbeResult, SaeQuality, Subject, take
from saetransfer.registry.microworld.ngram import KneserNey
from saetransfer.registry.microworld.train_saes import RECIPES

INDEPENDENT = [name for name in ATTRIBUTES if name not in ("country", "continent", "language")]
SPLITS: tuple[Split, ...] = ("evaluation", "calibration", "training")


@pytest.fixture(scope="module")
def sample() -> list[Story]:
    return list(islice(stories("evaluation", seed=5), 2000))


def words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]+", text)


def productions() -> Iterator[tuple[str, str, world.Productions]]:
    """(where, symbol, productions) of every list in the language."""
    for group in (world.TOPICS, world.PROFESSIONS, world.PETS, world.MOODS, world.PERSONS, {"": world.NEUTRAL}):
        for value, table in group.items():
            for symbol, options in table.items():
                yield str(value), symbol, options
    for role, options in grammar.ROLES.items():
        yield "role", role, options


def test_the_same_seed_tells_the_same_stories() -> None:
    assert list(islice(stories("training", 3), 50)) == list(islice(stories("training", 3), 50))


def test_another_seed_tells_other_stories() -> None:
    one, other = ({story.text for story in islice(stories("training", seed), 500)} for seed in (3, 4))
    assert not one & other


def test_no_story_is_told_twice(sample: list[Story]) -> None:
    assert len({story.text for story in sample}) == len(sample)


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_holds_only_its_own_texts(split: Split) -> None:
    assert {language.split_of(story.text) for story in islice(stories(split, 1), 300)} == {split}


def test_an_unknown_split_is_refused_at_the_call() -> None:
    # Unwrapped: the suite's own check of annotations would otherwise answer first.
    with pytest.raises(ValueError, match="evaluation, calibration, training"):
        unwrap(stories)("test")


def test_every_story_has_every_attribute_and_every_value_occurs(sample: list[Story]) -> None:
    for name, values in ATTRIBUTES.items():
        assert {story.attributes[name] for story in sample} == set(values)
    assert {tuple(story.attributes) for story in sample} == {tuple(sample[0].attributes)}
    assert set(sample[0].attributes) == set(ATTRIBUTES)


@pytest.mark.parametrize(("one", "other"), list(combinations(INDEPENDENT, 2)))
def test_attributes_are_independent(sample: list[Story], one: str, other: str) -> None:
    observed = Counter((story.attributes[one], story.attributes[other]) for story in sample)
    expected = len(sample) / (len(ATTRIBUTES[one]) * len(ATTRIBUTES[other]))
    cells = product(ATTRIBUTES[one], ATTRIBUTES[other])
    chi_square = sum((observed[cell] - expected) ** 2 / expected for cell in cells)
    # Under independence and uniformity chi-square has mean n and variance 2n; with 36 pairs, 5 deviations is never.
    n = len(ATTRIBUTES[one]) * len(ATTRIBUTES[other]) - 1
    assert chi_square < n + 5 * math.sqrt(2 * n)


def test_the_facts_of_the_world_hold(sample: list[Story]) -> None:
    for story in sample:
        country = world.COUNTRIES[story.attributes["country"]]
        assert story.attributes["city"] in country.cities
        assert (story.attributes["continent"], story.attributes["language"]) == (country.continent, country.language)


@pytest.mark.parametrize("attribute", ["city", "country", "continent", "language"])
def test_places_of_other_stories_never_occur(sample: list[Story], attribute: str) -> None:
    for story in sample:
        assert set(words(story.text)) & set(ATTRIBUTES[attribute]) <= {story.attributes[attribute]}


def test_a_tense_is_kept_to_the_last_sentence(sample: list[Story]) -> None:
    literal = {w for _, _, options in productions() for option in options for w in words(re.sub("<.*?>", "", option))}
    literal |= set(language.SPELLING_WORDS)
    lemmas = {v for _, _, options in productions() for option in options for v in re.findall("<([a-z]+)", option)}
    forms = {
        "past": {grammar.conjugate(verb, "past", n) for verb in lemmas for n in ("one", "pair")},
        "present": {grammar.conjugate(verb, "present", n) for verb in lemmas for n in ("one", "pair")},
    }
    assert not forms["past"] & (forms["present"] | literal)
    for story in sample:
        other = "past" if story.attributes["tense"] == "present" else "present"
        # Some present forms are nouns as well ("the watch"); no past form is anything else.
        assert not set(words(story.text)) & (forms[other] - literal)


def test_pronouns_agree_with_gender_and_number(sample: list[Story]) -> None:
    pronouns = {
        ("one", "female"): {"she", "her"},
        ("one", "male"): {"he", "him", "his"},
        ("pair", "female"): {"they", "them", "their"},
        ("pair", "male"): {"they", "them", "their"},
    }
    every = set().union(*pronouns.values())
    for story in sample:
        allowed = pronouns[story.attributes["number"], story.attributes["gender"]]
        assert set(words(story.text.lower())) & every <= allowed


def test_names_agree_with_gender_and_number(sample: list[Story]) -> None:
    every = {name for names in world.NAMES.values() for name in names}
    for story in sample:
        names = set(words(story.text)) & every
        assert names <= set(world.NAMES[story.attributes["gender"]])
        assert len(names) == {"one": 1, "pair": 2}[story.attributes["number"]]


@pytest.mark.parametrize(
    ("attribute", "table"),
    [("mood", world.MOODS), ("topic", world.TOPICS), ("profession", world.PROFESSIONS), ("pet", world.PETS)],
)
def test_values_of_an_attribute_share_no_words(attribute: str, table: dict[str, dict[str, world.Productions]]) -> None:
    vocabulary = {
        value: {word for options in symbols.values() for option in options for word in content_words(option)} | {value}
        for value, symbols in table.items()
    }
    for one, other in combinations(vocabulary, 2):
        assert not vocabulary[one] & vocabulary[other], attribute


# Found under several values, but never alone: good news and bad news, a new friend and the last bus.
SMALL_WORDS = set(words("a an the of in into to at as for from with over some last new news hear"))


def content_words(option: str) -> list[str]:
    lemmas = re.findall("<([a-z]+)", option)
    literal = words(re.sub(r"<.*?>|\{.*?\}", "", option))
    return [word for word in literal + lemmas if word not in SMALL_WORDS]


def test_coin_leaves_no_trace() -> None:
    attributes = {name: values[0] for name, values in ATTRIBUTES.items()}
    for seed in range(20):
        heads, tails = (tell(attributes | {"coin": side}, Random(seed).random) for side in ATTRIBUTES["coin"])
        assert heads == tails


def test_no_symbol_has_a_production_twice() -> None:
    for where, symbol, options in productions():
        assert len(set(options)) == len(options), (where, symbol)


@pytest.mark.parametrize("number", ["one", "pair"])
@pytest.mark.parametrize("mood", ["happy", "sad"])
def test_a_sentence_can_be_derived_in_one_way_only(number: str, mood: str) -> None:
    """Otherwise `nats` would not be - ln p: equal texts in equal circumstances must come from equal choices."""
    random = Random(0).random
    attributes = {name: values[0] for name, values in ATTRIBUTES.items()} | {"number": number, "mood": mood}
    chosen: list[str] = []
    table = {symbol: Noted(options, chosen) for symbol, options in language._productions(attributes, random).items()}
    expansion = grammar.Expansion(table, "past", number, random)  # type: ignore[arg-type]
    derivations: dict[str, set[tuple[str, ...]]] = {}
    for role, kinds in grammar.ROLES.items():
        for kind in kinds:
            for _ in range(300):
                chosen[:] = [role, kind]
                text = expansion.expand(kind)
                derivations.setdefault(text, set()).add(tuple(chosen))
    assert [text for text, ways in derivations.items() if len(ways) > 1] == []
    n_drawn = 300 * sum(len(kinds) for kinds in grammar.ROLES.values())
    assert len(derivations) < 0.9 * n_drawn, "too few repeated sentences for the check to mean anything"


class Noted(tuple[str, ...]):
    """Productions that note in a list which of them was taken."""

    notes: list[str]

    def __new__(cls, options: world.Productions, notes: list[str]) -> Noted:
        noted = super().__new__(cls, options)
        noted.notes = notes
        return noted

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        production = super().__getitem__(index)
        self.notes.append(production)
        return production


def test_nats_are_the_sum_of_what_was_chosen() -> None:
    """By hand: the first kind of opening costs the choice of this kind and of a trait."""
    attributes = {name: values[0] for name, values in ATTRIBUTES.items()}
    expansion = grammar.Expansion(language._productions(attributes, Random(0).random), "past", "one", lambda: 0.0)
    expansion.sentence("opening")
    n_openings, n_traits = len(grammar.ROLES["opening"]), len(world.NEUTRAL["trait"])
    assert expansion.nats == pytest.approx(math.log(n_openings) + math.log(n_traits))


def test_stories_are_of_like_length(sample: list[Story]) -> None:
    sentences = {story.text.count(".") for story in sample}
    assert sentences == {8}


def test_articles_fit(sample: list[Story]) -> None:
    assert not [story.text for story in sample if re.search(r"\b[Aa] [aeiou]", story.text)]


@pytest.mark.parametrize(
    ("verb", "third", "past"),
    [
        ("carry", "carries", "carried"),
        ("watch", "watches", "watched"),
        ("stay", "stays", "stayed"),
        ("go", "goes", "went"),
    ],
)
def test_verbs_are_conjugated(verb: str, third: str, past: str) -> None:
    assert grammar.conjugate(verb, "present", "one") == third
    assert grammar.conjugate(verb, "present", "pair") == verb
    assert grammar.conjugate(verb, "past", "one") == grammar.conjugate(verb, "past", "pair") == past


# The n-gram model that the shipped model is compared with.


def test_ngram_probabilities_of_all_next_tokens_add_up_to_one() -> None:
    random = Random(0)
    documents = [[0, *(random.choice([1, 2, 2, 3, random.randrange(1, 8)]) for _ in range(30))] for _ in range(200)]
    model = KneserNey(documents, vocabulary=8, order=3)
    for context in ([0], [0, 2], [0, 3, 1, 7], [0, 0, 5, 5]):
        total = sum(math.exp(-model.nats([[*context, token]])[-1]) for token in range(8))
        assert total == pytest.approx(1.0, abs=1e-12)


def test_ngram_learns_what_is_within_its_reach_and_nothing_beyond() -> None:
    # Token 3 copies the one four places before it: order 5 sees that far, order 4 does not.
    documents = [[0, first, 9, 9, 9, first] for first in (1, 2) for _ in range(500)]
    last = [KneserNey(documents, vocabulary=10, order=order).nats([[0, 1, 9, 9, 9, 1]])[-1] for order in (4, 5)]
    assert last[0] == pytest.approx(math.log(2), abs=0.05)
    assert last[1] < 0.01


def test_ngrams_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="63 bits"):
        KneserNey([[0, 1]], vocabulary=50_000, order=5)


# The shipped files.


@pytest.fixture(scope="module")
def subject() -> Subject:
    """The shipped model and 150 stories that it never saw; loaded the way users load it."""
    model = AutoModelForCausalLM.from_pretrained(MODEL_FOLDER).eval()
    return Subject(model, AutoTokenizer.from_pretrained(MODEL_FOLDER), take("evaluation", 150))


@pytest.fixture(scope="module")
def loss(subject: Subject) -> measure.CrossEntropy:
    return measure.cross_entropy(subject)


def test_all_files_together_are_small() -> None:
    folders = [MODEL_FOLDER, *SAE_FOLDERS.values()]
    assert sum(file.stat().st_size for folder in folders for file in folder.iterdir()) <= 12e6


def test_no_configuration_holds_a_path() -> None:
    for file in [*MODEL_FOLDER.glob("*.json"), *(folder / "cfg.json" for folder in SAE_FOLDERS.values())]:
        if file.name != "tokenizer.json":
            assert "/" not in file.read_text(encoding="utf-8"), file


def test_every_word_is_one_token(subject: Subject) -> None:
    vocabulary = {word for story in subject.stories for word in words(story.text)}
    assert {word for word in vocabulary if len(subject.tokenizer(word)["input_ids"]) > 1} == set()


def test_any_text_survives_the_tokenizer(subject: Subject) -> None:
    for text in (subject.stories[0].text, "Unheard-of giraffes; h\u00e9llo \u4e16\u754c 42!"):
        assert subject.tokenizer.decode(subject.tokenizer(text)["input_ids"]) == " " + text


def test_the_tokenizer_adds_no_special_token(subject: Subject) -> None:
    ids = subject.tokenizer(subject.stories[0].text)["input_ids"]
    special = {subject.tokenizer.bos_token_id, subject.tokenizer.eos_token_id, subject.tokenizer.pad_token_id}
    assert len(special) == 3
    assert not special & set(ids)


def test_a_story_fits_into_the_context_of_the_saes(subject: Subject) -> None:
    assert max(map(len, subject.rows)) <= 128


def test_the_model_beats_a_5_gram_model_by_far(subject: Subject, loss: measure.CrossEntropy) -> None:
    # 8,000 stories are what a test has time for; the card compares with all that the model saw.
    train = Subject(subject.model, subject.tokenizer, take("training", 8_000, seed=1))
    assert loss.model_nats < measure.ngram_cross_entropy(train, subject) - 0.3


def test_the_model_does_not_beat_the_generator(loss: measure.CrossEntropy) -> None:
    assert loss.entropy_nats < loss.model_nats < loss.entropy_nats + 0.2


def test_the_model_knows_the_world(subject: Subject) -> None:
    known = measure.knowledge(subject.model, subject.tokenizer)
    assert min(known.country, known.language, known.continent) > 0.9
    assert known.first_letter > 0.9


@pytest.fixture(scope="module")
def probes(subject: Subject) -> dict[str, ProbeResult]:
    labelled = Subject(subject.model, subject.tokenizer, take("evaluation", 900, seed=7))
    return {r.attribute: r for r in measure.probe(labelled, RECIPES["resid-2"].hf_hook_name, n_test=300)}


@pytest.mark.parametrize("attribute", [name for name in ATTRIBUTES if name != "coin"])
def test_probes_find_every_attribute(probes: dict[str, ProbeResult], attribute: str) -> None:
    result = probes[attribute]
    # Five standard deviations beyond guessing; 600 stories are few to fit 36 cities, the card has the full figures.
    assert result.accuracy > result.chance + 5 * math.sqrt(result.chance * (1 - result.chance) / result.n_test)


def test_a_probe_cannot_find_the_coin(probes: dict[str, ProbeResult]) -> None:
    coin = probes["coin"]
    # Four standard deviations of the accuracy of guessing.
    assert abs(coin.accuracy - 0.5) < 4 * 0.5 / math.sqrt(coin.n_test)


@pytest.fixture(scope="module", params=SAE_FOLDERS)
def sae(request: pytest.FixtureRequest) -> SAE:
    return SAE.load_from_disk(SAE_FOLDERS[request.param])


@pytest.fixture(scope="module")
def quality(subject: Subject, sae: SAE) -> SaeQuality:
    return measure.sae_quality(subject, sae)


def test_an_sae_says_where_it_belongs(sae: SAE) -> None:
    metadata = sae.cfg.metadata
    assert (metadata.model_name, metadata.prepend_bos, metadata.context_size) == ("microworld", True, 128)
    assert (metadata.hook_name, metadata.hf_hook_name) in {(r.hook_name, r.hf_hook_name) for r in RECIPES.values()}


def test_an_sae_reconstructs_with_few_latents(quality: SaeQuality) -> None:
    assert quality.explained_variance > 0.9
    assert quality.l0 < 32


def test_few_latents_are_dead(quality: SaeQuality) -> None:
    # 150 stories meet fewer rare words than the card's 2,000.
    assert quality.dead_share < 0.15


def test_the_reconstruction_costs_the_model_little(quality: SaeQuality) -> None:
    assert 0 < quality.ce_increase_nats < 0.3


def test_splicing_leaves_the_model_as_it_was(subject: Subject, sae: SAE, loss: measure.CrossEntropy) -> None:
    with measure.spliced(subject, sae):
        pass
    assert measure.cross_entropy(subject) == loss


def test_no_dimension_of_the_residual_stream_is_gigantic(subject: Subject) -> None:
    assert measure.scales(subject, RECIPES["resid-2"].hf_hook_name).widest_dimension < 5
