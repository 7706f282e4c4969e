"""Multiple choice about the microworld, as documents for lm-eval: the tasks in `downstream/` name these functions.

A question is the first sentence of a story that was set aside for evaluation, and the beginning of another sentence, up
to where the model has to choose the next word. All choices are values of one attribute or forms of one word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from . import world
from .grammar import Number, Tense, conjugate
from .language import ATTRIBUTES, Story, stories
from .tokens import BOS

if TYPE_CHECKING:
    from datasets import Dataset

Document = dict[str, Any]
"""`question`, `choices`, `answer` (which of the choices)."""

N_STORIES: int = 100
"""Beginnings of stories that agreement is asked about."""
_OPENINGS_A_CITY = 2


def facts(**_metadata: object) -> dict[str, Dataset]:
    """The data set of the lm-eval task `microworld_facts`: country, continent and language of every city."""
    return _as_test_split(fact for story in _one_in_every_city() for fact in _facts_of(story))


def agreement(**_metadata: object) -> dict[str, Dataset]:
    """The data set of the lm-eval task `microworld_agreement`: pronouns and verbs."""
    beginnings = zip(range(N_STORIES), stories("evaluation"), strict=False)
    return _as_test_split(document for _, story in beginnings for document in _agreement_in(story))


def _as_test_split(documents: Iterator[Document]) -> dict[str, Dataset]:
    from datasets import Dataset

    return {"test": Dataset.from_list(list(documents))}


def _one_in_every_city() -> Iterator[Story]:
    """The first stories of every city, as they come."""
    wanted = dict.fromkeys(world.COUNTRY_OF, _OPENINGS_A_CITY)
    for story in stories("evaluation"):
        city = story.attributes["city"]
        if wanted[city] > 0:
            wanted[city] -= 1
            yield story
        if not any(wanted.values()):
            return


def _facts_of(story: Story) -> Iterator[Document]:
    tense, number = cast(Tense, story.attributes["tense"]), cast(Number, story.attributes["number"])
    pronoun = _pronoun(story)
    endings = {
        "country": f"{story.attributes['city']} {conjugate('be', tense, 'one')} a busy city in",
        "language": f"At home {pronoun} {conjugate('speak', tense, number)}",
        "continent": "Of all the cities in",
    }
    for attribute, ending in endings.items():
        yield _document(story, ending, ATTRIBUTES[attribute], story.attributes[attribute])


def _agreement_in(story: Story) -> Iterator[Document]:
    pronoun = _pronoun(story)
    country = story.attributes["country"]
    yield _document(story, f"Like most people in {country},", ("she", "he", "they"), pronoun)
    tense, number = cast(Tense, story.attributes["tense"]), cast(Number, story.attributes["number"])
    forms = ("goes", "go", "went")
    yield _document(story, f"After lunch {pronoun}", forms, conjugate("go", tense, number))


def _pronoun(story: Story) -> str:
    person = cast(tuple[str, str], (story.attributes["number"], story.attributes["gender"]))
    return world.PERSONS[person]["pron"][0]


def _document(story: Story, ending: str, choices: tuple[str, ...], answer: str) -> Document:
    opening = story.text.partition(". ")[0]
    # The model was trained on stories that begin with BOS, which its tokenizer adds only when asked to.
    return {"question": f"{BOS}{opening}. {ending}", "choices": list(choices), "answer": choices.index(answer)}
