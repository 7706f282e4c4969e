"""The microworld's stories: endless, seeded, with every latent attribute known exactly.

A story is about one person or a pair of them: an opening; their homeland, work, hobby, pet, an event and either company
or (in one story of three) a spelling lesson, in any order; a closing. Names, gender, tense, number, mood, topic,
profession and the facts of the city are drawn once, independently and uniformly, and hold to the last sentence:

    >>> story = next(stories("evaluation"))
    >>> story.attributes["country"] in story.text or story.attributes["city"] in story.text
    True

`country`, `continent` and `language` follow from `city`; all other attributes are independent of each other. `coin` is
drawn from a random source of its own after the text is written: no text can show it, so a probe that finds it is wrong.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Literal, cast, get_args
from zlib import crc32

from . import world
from .grammar import Expansion, Number, Tense
from .world import Productions

Split = Literal["evaluation", "calibration", "training"]

LANGUAGE_VERSION: int = 1
"""Raised whenever the same seed would give another text."""

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "mood": tuple(world.MOODS),
    "topic": tuple(world.TOPICS),
    "tense": ("past", "present"),
    "number": ("one", "pair"),
    "gender": tuple(world.NAMES),
    "profession": tuple(world.PROFESSIONS),
    "pet": tuple(world.PETS),
    "city": tuple(world.COUNTRY_OF),
    "country": tuple(world.COUNTRIES),
    "continent": tuple(sorted({country.continent for country in world.COUNTRIES.values()})),
    "language": tuple(sorted({country.language for country in world.COUNTRIES.values()})),
    "coin": ("heads", "tails"),
}
"""Attribute -> its possible values."""

_DRAWN = ("mood", "topic", "tense", "number", "gender", "profession", "pet", "city")
_MIDDLE = ("homeland", "work", "hobby", "pet", "event")
_SPELLING_ONE_IN = 3
# Which residue modulo 4 of a text's checksum belongs to which split: half of all stories may be trained on.
_RESIDUES: dict[Split, tuple[int, ...]] = {"evaluation": (0,), "calibration": (1,), "training": (2, 3)}


@dataclass(frozen=True)
class Story:
    """A story and the whole truth about it."""

    text: str
    attributes: dict[str, str]
    """One value for every key of `ATTRIBUTES`."""
    nats: float
    """- ln p(text) under the generator before texts are dealt to splits.

    Exact: every choice is uniform, shows in the text and can be read back from it, so the mean of `nats` is the entropy
    of a story. Not counted: that a split holds only texts with certain checksums, which would take off ln 4 nats a
    story at most, but no model can know it; and the end of the story, which is certain after the eighth sentence.
    """


def stories(split: Split, seed: int = 0) -> Iterator[Story]:
    """Endless stories of a split, the same ones for the same seed on every machine and Python version.

    A text belongs to exactly one split, by its checksum; candidates of other splits are passed over. So no story for
    evaluation or calibration ever occurs in training, whatever the seeds.

    Raises `ValueError` for an unknown split, at the call and not at the first story.
    """
    if split not in get_args(Split):
        raise ValueError(f"Unknown split {split!r}. Available: {', '.join(get_args(Split))}.")
    return _stories(split, seed)


def _stories(split: Split, seed: int) -> Iterator[Story]:
    random, coin = _source(f"text {split} {seed}"), _source(f"coin {split} {seed}")
    while True:
        attributes = {name: _draw(ATTRIBUTES[name], random) for name in _DRAWN}
        text, nats = tell(attributes, random)
        if split_of(text) == split:
            yield Story(text, _complete(attributes) | {"coin": _draw(ATTRIBUTES["coin"], coin)}, nats)


def split_of(text: str) -> Split:
    """The one split that a text belongs to."""
    residue = crc32(text.encode()) % 4
    return next(split for split, residues in _RESIDUES.items() if residue in residues)


def tell(attributes: dict[str, str], random: Callable[[], float]) -> tuple[str, float]:
    """Write a story with the given attributes; `coin` is not looked at.

    Returns the text and its cost in nats, that of the attributes themselves included.
    """
    tense, number = cast(Tense, attributes["tense"]), cast(Number, attributes["number"])
    expansion = Expansion(_productions(attributes, random), tense, number, random)
    roles = _order(random)
    text = " ".join([expansion.sentence(role) for role in roles])
    nats = expansion.nats + _ATTRIBUTES_NATS + _names_nats(number) + _order_nats(roles)
    return text, nats


def _source(name: str) -> Callable[[], float]:
    """A random source named by text; seeded through SHA-256 because `hash` differs from process to process."""
    digest = hashlib.sha256(f"microworld {LANGUAGE_VERSION} {name}".encode()).digest()
    return Random(int.from_bytes(digest, "big")).random


def _draw(values: Productions, random: Callable[[], float]) -> str:
    return values[int(random() * len(values))]


def _complete(attributes: dict[str, str]) -> dict[str, str]:
    """Add what follows from the city."""
    country = world.COUNTRY_OF[attributes["city"]]
    facts = world.COUNTRIES[country]
    return attributes | {"country": country, "continent": facts.continent, "language": facts.language}


def _order(random: Callable[[], float]) -> list[str]:
    """The roles of a story's sentences: opening and closing stay, the middle is shuffled."""
    middle = [*_MIDDLE, "spelling" if int(random() * _SPELLING_ONE_IN) == 0 else "company"]
    # Fisher-Yates on `random()` alone, see `Expansion.expand`.
    for i in range(len(middle) - 1, 0, -1):
        j = int(random() * (i + 1))
        middle[i], middle[j] = middle[j], middle[i]
    return ["opening", *middle, "closing"]


def _order_nats(roles: list[str]) -> float:
    spelled = "spelling" in roles
    share = 1 / _SPELLING_ONE_IN if spelled else 1 - 1 / _SPELLING_ONE_IN
    return math.lgamma(len(roles) - 1) - math.log(share)


_ATTRIBUTES_NATS = sum(math.log(len(ATTRIBUTES[name])) for name in _DRAWN)


def _names_nats(number: Number) -> float:
    n_names = len(world.NAMES["female"])
    return math.log(n_names) + (math.log(n_names - 1) if number == "pair" else 0.0)


def _name(number: Number, names: Productions, random: Callable[[], float]) -> str:
    first = int(random() * len(names))
    if number == "one":
        return names[first]
    # A pair's second name is another one: skip the first.
    second = int(random() * (len(names) - 1))
    return f"{names[first]} and {names[second + (second >= first)]}"


def _productions(attributes: dict[str, str], random: Callable[[], float]) -> dict[str, Productions]:
    """The productions of every symbol in a story with these attributes; draws the names."""
    number, gender = cast(Number, attributes["number"]), attributes["gender"]
    country = world.COUNTRY_OF[attributes["city"]]
    facts = world.COUNTRIES[country]
    profession = attributes["profession"] + ("s" if number == "pair" else "")
    table = dict(_common(number, gender, attributes["mood"]))
    table |= world.TOPICS[attributes["topic"]]
    table |= world.PROFESSIONS[attributes["profession"]]
    table |= world.PETS[attributes["pet"]]
    table |= {
        "name": (_name(number, world.NAMES[gender], random),),
        "profession": (profession,),
        "pet": (attributes["pet"],),
        "city": (attributes["city"],),
        "country": (country,),
        "continent": (facts.continent,),
        "language": (facts.language,),
        "S": ("{name}", "{pron}", "{person}", f"the {profession}"),
    }
    return table


@cache
def _common(number: Number, gender: str, mood: str) -> dict[str, Productions]:
    spelled = tuple(f"{word} <start:1> with {word[0]}" for word in SPELLING_WORDS)
    return world.NEUTRAL | world.MOODS[mood] | world.PERSONS[number, gender] | {"spelled": spelled}


def _spelling_words() -> Productions:
    lists = [world.SPELLED_ONLY, world.NEUTRAL["keepsake"], world.NEUTRAL["furniture"], world.NEUTRAL["colour"]]
    lists += [words["tool"] for words in world.PROFESSIONS.values()]
    lists += [words["thing"] for words in world.TOPICS.values()]
    return tuple(sorted({word for words in lists for word in words}))


SPELLING_WORDS: Productions = _spelling_words()
"""The words whose first letter is taught."""
