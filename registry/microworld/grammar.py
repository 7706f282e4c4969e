"""How the microworld speaks: the sentences of each role, the forms of its verbs, and their expansion.

The grammar is context-free with uniform choices: a symbol `{x}` is replaced by one of its productions, each equally
likely, and verbs `<go>` are put into the story's tense and number before a story begins. All context (which name, which
mood, which tense) enters through the table of productions, never through the rules; therefore the probability of a
text is the product of 1 / (number of productions) over its choices, with nothing to approximate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal

from .world import Productions

Tense = Literal["past", "present"]
Number = Literal["one", "pair"]
Part = tuple[bool, str]
"""(is a symbol, the symbol's name or literal text)."""

# Every role of a story and the sentences that can play it. Sentences of different roles never coincide.
ROLES: dict[str, Productions] = {
    "opening": (
        "{name} <be> {one} {trait} {profession} from {city}.",
        "{name}, {one} {trait} {profession}, <live> in {city}.",
        "{name}, {one} {trait} {profession}, <come> from {city}.",
        "in {city} there <live> {one} {trait} {profession}, and {his} {called} <be> {name}.",
        "in the {grand} city of {city} there <work> {one} {trait} {profession}, {name}.",
        "this <be:1> the story of {name}, {one} {trait} {profession} from {city}.",
        "{one} {trait} {profession} from {city} <have> the {called} {name}.",
        "people in {city} <know:2> {one} {trait} {profession} by the {called} of {name}.",
    ),
    "homeland": (
        "{city} <be:1> a {grand} city in {country}.",
        "the city <lie:1> in {country}, and its people <speak:2> {language}.",
        "like most people in {country}, {pron} <speak> {language}.",
        "{city} <lie:1> in {continent}, where the {season} <be:1> {length}.",
        "the {feature} of {city} <be:2> full of voices in {language}.",
        "{S} <love> the {feature} of {city} and the {nature} of {country}.",
        "of all the cities in {continent}, {S} <like> {city} best.",
        "at home {S} <speak> {language}, as people <do:2> in {country}.",
        "{when} {S} <travel> through {continent}, but {his} heart <stay:1> in {country}.",
        "nobody in {continent} <speak:1> better {language} than {name}.",
        "the {nature} of {country} <be:2> as {grand} as any in {continent}.",
    ),
    "work": (
        "{when} {S} <go> to the {workplace} and {task}.",
        "at the {workplace} {S} {task} with the {colour} {tool}.",
        "{S} <take> the {size} {tool} and {task} {duration}.",
        "the {people} at the {workplace} <trust:2> {name}, for {pron} {often} {task} with care.",
        "the {colour} {tool} <lie:1> on the {furniture} in the {workplace}.",
        "{S} {often} <carry> the {tool} to the {people}.",
        "{when} the {people} <wait:2> at the {workplace} until {S} <come> with the {tool}.",
        "in spite of {weather} {S} {task} and <help> the {people}.",
    ),
    "hobby": (
        "after work {S} {hobby} at the {spot}.",
        "{S} <adore> {subject}, and the {colour} {thing} <be:1> {his} treasure.",
        "{when} {S} <buy> a {quality} {thing} at the {spot}.",
        "each {thing} <remind:1> {name} of the {spot}, where {pron} {often} {hobby}.",
        "{S} {hobby} {duration}, and no {thing} <be:1> too {quality}.",
        "because of {weather} {S} <stay> at the {spot} and {hobby}.",
        "{S} <keep> the {size} {thing} on the {furniture} and {often} {hobby}.",
    ),
    "company": (
        "the {crowd} <tell:2> {him} about a {quality} {thing}.",
        "{when} {his} {relative} <send:1> a {quality} {thing} to {name}.",
        "{his} {relative} <know:1> everything about {subject} and <show:1> {him} the {thing}.",
        "{when} {his} {relative} <talk:1> about the {thing} at the {spot}.",
        "the {crowd} at the {spot} <invite:2> {name} and {his} {relative}.",
        "{S} <meet> the {crowd} and <ask> about the {thing}.",
    ),
    "pet": (
        "{his} {beast_trait} {pet} {cry} in the {den}.",
        "when {S} <come> home, the {pet} {cry} {duration}.",
        "{S} <give> the {beast_trait} {pet} some {fodder} {when}.",
        "{S} <have> a {beast_trait} {pet} that {often} {cry}.",
        "the {pet} in the {den} <want:1> {fodder}, and {S} <bring> it.",
        "{when} the {pet} {cry}, for the {den} <be:1> without {fodder}.",
        "{his} {pet} <hide:1> in the {den} because of {weather}.",
    ),
    "event": (
        "{when} {S} {event}, and {pron} <be> {feeling}.",
        "a {tone} letter from {his} {relative} <make:1> {him} {feeling}.",
        "{S} {expression} {gladly} because {pron} {event}.",
        "it <be:1> a {tone} day, for {S} {event}.",
        "{when} {S} {event}, and {his} {relative} <be:1> {feeling} too.",
        "{S} <feel> so {feeling} that {pron} {expression} {duration}.",
        "the plan <turn:1> into {outcome}, and {S} {expression}.",
    ),
    "spelling": (
        "the word {spelled}.",
        "{S} <remember> that the word {spelled}.",
        "a child <notice:1> that the word {spelled}.",
    ),
    "closing": (
        "at the end of the day {S} <be> {feeling}.",
        "{name} {expression} on the way home through the {feature} of {city}.",
        "it <be:1> a {tone} time in {country} for {name}.",
        "{S} <go> to bed {gladly} and <dream> of {subject}.",
        "nobody in {city} <be:1> as {feeling} as {name}.",
        "{S} <tell> the {pet} about it and {expression} {gladly}.",
        "the {people} and the {crowd} <see:2> how {feeling} {S} <be>.",
        "for {name}, {outcome} in {continent} <be:1> nothing new, but {pron} {expression} {gladly}.",
    ),
}

# lemma -> (third person singular, past); "be" is the one verb whose other forms differ as well.
IRREGULAR: dict[str, tuple[str, str]] = {
    "have": ("has", "had"), "do": ("does", "did"), "go": ("goes", "went"), "come": ("comes", "came"),
    "know": ("knows", "knew"), "lie": ("lies", "lay"), "speak": ("speaks", "spoke"), "take": ("takes", "took"),
    "buy": ("buys", "bought"), "keep": ("keeps", "kept"), "tell": ("tells", "told"), "send": ("sends", "sent"),
    "show": ("shows", "showed"), "meet": ("meets", "met"), "give": ("gives", "gave"), "bring": ("brings", "brought"),
    "hide": ("hides", "hid"), "feel": ("feels", "felt"), "make": ("makes", "made"), "win": ("wins", "won"),
    "find": ("finds", "found"), "get": ("gets", "got"), "hear": ("hears", "heard"), "weep": ("weeps", "wept"),
    "lose": ("loses", "lost"), "break": ("breaks", "broke"), "catch": ("catches", "caught"),
    "teach": ("teaches", "taught"), "feed": ("feeds", "fed"), "shear": ("shears", "shore"), "sew": ("sews", "sewed"),
    "build": ("builds", "built"), "dig": ("digs", "dug"), "sing": ("sings", "sang"), "draw": ("draws", "drew"),
    "write": ("writes", "wrote"), "see": ("sees", "saw"), "drop": ("drops", "dropped"), "sob": ("sobs", "sobbed"),
    "scrub": ("scrubs", "scrubbed"), "travel": ("travels", "travelled"), "quarrel": ("quarrels", "quarrelled"),
}  # fmt: skip

_VERB = re.compile(r"<([a-z]+)(?::([12]))?>")
_SYMBOL = re.compile(r"\{(\w+)\}")


def conjugate(lemma: str, tense: Tense, number: Number) -> str:
    """The third-person form of a verb, for example `conjugate("carry", "past", "one") == "carried"`."""
    if lemma == "be":
        return {"past": ("was", "were"), "present": ("is", "are")}[tense][number == "pair"]
    third, past = IRREGULAR.get(lemma) or _regular(lemma)
    if tense == "past":
        return past
    return third if number == "one" else lemma


def _regular(lemma: str) -> tuple[str, str]:
    if lemma.endswith("y") and lemma[-2] not in "aeiou":
        return lemma[:-1] + "ies", lemma[:-1] + "ied"
    past = lemma + ("d" if lemma.endswith("e") else "ed")
    return lemma + ("es" if lemma.endswith(("s", "x", "z", "ch", "sh")) else "s"), past


def inflect(production: str, tense: Tense, number: Number) -> str:
    """Put every verb of a production into its form; a verb without a mark agrees with the protagonist's `number`."""

    def form(match: re.Match[str]) -> str:
        lemma, mark = match.groups()
        return conjugate(lemma, tense, {None: number, "1": "one", "2": "pair"}[mark])  # type: ignore[arg-type]

    return _VERB.sub(form, production)


@cache
def parts(production: str, tense: Tense, number: Number) -> tuple[Part, ...]:
    """A production with its verbs inflected, cut into literal text and symbols."""
    pieces = _SYMBOL.split(inflect(production, tense, number))
    # `re.split` with one group alternates: text, symbol, text, ...
    return tuple((i % 2 == 1, piece) for i, piece in enumerate(pieces) if piece)


class Expansion:
    """Expands symbols for one story and adds up what its choices cost.

    `nats` is - ln of the probability of all choices made so far: ln n for a choice among n.
    """

    def __init__(
        self, table: Mapping[str, Productions], tense: Tense, number: Number, random: Callable[[], float]
    ) -> None:
        """`random` returns floats in [0, 1); it is the only source of chance."""
        self.table, self.tense, self.number, self.random = table, tense, number, random
        self.nats = 0.0

    def expand(self, production: str) -> str:
        """The text of a production: its symbols are replaced from left to right until none is left."""
        text: list[str] = []
        # A stack and no recursion: a story takes a hundred choices, and calls would be most of the time.
        pending = [(False, production)]
        while pending:
            is_symbol, piece = pending.pop()
            if is_symbol:
                options = self.table[piece]
                # `int(random() * n)`, not `choice`: only the sequence of `random()` is the same in every Python.
                piece = options[0] if len(options) == 1 else options[int(self.random() * len(options))]
                self.nats += math.log(len(options))
            if "{" in piece or "<" in piece:
                pending.extend(reversed(parts(piece, self.tense, self.number)))
            else:
                text.append(piece)
        return "".join(text)

    def sentence(self, role: str) -> str:
        """A sentence of a role (`ROLES`), with its capital."""
        options = ROLES[role]
        self.nats += math.log(len(options))
        text = self.expand(options[int(self.random() * len(options))])
        return text[0].upper() + text[1:]
